"""Match: holds a bill's lines beside the refunds, chunk by chunk. Safe to run twice, and at once.

A line's result is written in the transaction that opens its case, so a line is compared once.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from worker.ledger import matching
from worker.ledger.differences import explain_differences, keep_differences
from worker.ledger.journal import storable
from worker.ledger.matching import Compared, KeptLine
from worker.ledger.orders import lock_order, update_order
from worker.ledger.statements import (
    Statement,
    Unlisted,
    lock_statement,
    still_unlisted,
    unlisted,
    update_statement,
)
from worker.refund import CANCELED, OPEN, QUEUED, Case
from worker.runtime import Line, Runtime
from worker.statements.judging import EXPLAINABLE, Result, choose, judge, of_no_refund
from worker.statements.reading import StatementLine
from worker.steps.differ import Bill, Counts, keep_about, keep_strange, missing

#: Lines that one transaction compares.
CHUNK: Final = 2000
#: So long the provider is asked where the states differ, before a person has to look.
PATIENCE: Final = timedelta(days=1)


#: Works on the lines of a result after one of them; the last one's number, None where none is left.
Stage = Callable[[Bill, int], int | None]


def match_statement(
    runtime: Runtime, line: Line, statement: Statement, counts: Counts, most: int
) -> int:
    """Compare up to ``most`` chunks of what of a whole bill is not compared; returns how many.

    Lines that wait for an answer are looked at whenever all others are compared; they do not count.

    Raises:
        ServiceAway: the ledger does not answer; what is committed stays.
    """
    done = 0
    for stage in (_link_by_number, _link_by_order, _compare_linked, _compare_waiting):
        after: int | None = 0
        while done < most and after is not None:
            after = _chunk(runtime, line, statement, stage, after, counts)
            done += after is not None and stage is not _compare_waiting
    return done


def _chunk(
    runtime: Runtime,
    line: Line,
    statement: Statement,
    stage: Stage,
    after: int,
    counts: Counts,
) -> int | None:
    """The next lines of a stage; the last one's number, None where there are none."""
    with runtime.ledger.write() as connection:
        locked = lock_statement(connection, statement.id)
        now = runtime.ledger.now(connection)
        bill = Bill(connection=connection, line=line, statement=locked, now=now)
        reached = stage(bill, after)
        bill.flush()
        if bill.counts:
            update_statement(connection, statement.id, {"results": _results(bill)})
    counts.update(bill.counts)
    return reached


def _results(bill: Bill) -> dict[str, int]:
    """How many lines of the bill have which result by now."""
    counted = Counter(bill.statement.results)
    counted.update({name: bill.counts[name] for name in (*Result, *Case) if name in bill.counts})
    counted[Result.WAITING] -= bill.counts["answered"]
    return {name: number for name, number in counted.items() if number}


def _link_by_number(bill: Bill, after: int) -> int | None:
    """Find the refunds of lines by our number, then by the provider's."""
    connection, statement_id = bill.connection, bill.statement.id
    upto = matching.last_of_next(connection, statement_id, Result.NEW, after, CHUNK)
    if upto is None:
        return None
    matching.link_by_number(connection, statement_id, bill.merchant, after, upto, bill.now)
    kept = matching.undone_lines(connection, statement_id, Result.NEW, after, CHUNK, upto)
    _link_by_theirs(bill, [one.line for one in kept])
    return upto


def _link_by_theirs(bill: Bill, lines: list[StatementLine]) -> None:
    """Lines whose number is none of ours."""
    theirs = {line.provider_refund_no for line in lines} - {""}
    named = matching.refunds_numbered_by_provider(bill.connection, bill.merchant, theirs)
    strange = []
    for line in lines:
        if line.provider_refund_no in named:
            bill.link(line, named[line.provider_refund_no])
        elif line.refund_no:  # it names another refund: one of ours must not stand for it
            strange.append(line)
        else:
            bill.write(line, Result.UNNUMBERED)
    _write_strange(bill, strange)


def _link_by_order(bill: Bill, after: int) -> int | None:
    """Find the refunds of lines that name none of ours by order, amount and day."""
    connection, statement_id = bill.connection, bill.statement.id
    kept = matching.undone_lines(connection, statement_id, Result.UNNUMBERED, after, CHUNK)
    order_nos = {one.line.order_no for one in kept} - {""}
    candidates = matching.refunds_of_orders(connection, bill.merchant, order_nos)
    ids = {ours.id for found in candidates.values() for ours in found}
    taken = set(matching.listed_in(connection, statement_id, ids))
    strange = []
    for one in kept:
        chosen = choose(one.line, candidates.get(one.line.order_no, []), taken)
        if chosen is None:
            strange.append(one.line)
        else:
            taken.add(chosen.id)
            bill.link(one.line, chosen.id)
    _write_strange(bill, strange)
    return _last(kept)


def _last(kept: list[KeptLine]) -> int | None:
    return kept[-1].line.number if kept else None


def _write_strange(bill: Bill, lines: list[StatementLine]) -> None:
    """Lines of refunds that are not in the ledger."""
    if not lines:
        return
    order_nos = {line.order_no for line in lines} - {""}
    known = matching.known_orders(bill.connection, bill.merchant, order_nos)
    for line in lines:
        order_id = known.get(line.order_no)
        result = of_no_refund(line, order_known=order_id is not None)
        if isinstance(result, Case):
            keep_strange(bill, line, result, order_id)
        bill.write(line, result)


def _compare_linked(bill: Bill, after: int) -> int | None:
    return _compare(bill, Result.LINKED, after)


def _compare_waiting(bill: Bill, after: int) -> int | None:
    return _compare(bill, Result.WAITING, after)


def _compare(bill: Bill, result: Result, after: int) -> int | None:
    """Compare the next lines of that result with the refunds that they are of."""
    kept = matching.undone_lines(bill.connection, bill.statement.id, result, after, CHUNK)
    if kept:
        _compare_lines(bill, kept)
    return _last(kept)


def _compare_lines(bill: Bill, kept: list[KeptLine]) -> None:
    """Compare lines with the refunds that they are of."""
    ids = {one.refund_id for one in kept if one.refund_id is not None}
    compared = matching.refunds_beside(bill.connection, ids)
    listed = matching.listed_in(bill.connection, bill.statement.id, ids)
    to_ask: set[int] = set()
    agreed: set[int] = set()
    to_freeze: set[int] = set()
    for one in kept:
        assert one.refund_id is not None
        ours = compared[one.refund_id]
        result = judge(one.line, ours.ours, matching.beside(listed[one.refund_id], one.line.number))
        if result is Result.WAITING:
            if not _has_waited(bill, one, ours):
                if one.result != Result.WAITING:
                    to_ask.add(one.refund_id)
                    bill.write(one.line, result)
                continue
            result = Case.STATE_DIFFERS
            to_freeze |= {ours.ours.order_id} if one.line.succeeded else set()
        if isinstance(result, Case):
            keep_about(bill, one.line, result, ours.ours)
        elif result is Result.AGREED:
            agreed.add(one.refund_id)
        if one.result == Result.WAITING:
            bill.counts["answered"] += 1
        bill.write(one.line, result)
    _freeze(bill, to_freeze)  # orders are locked before refunds
    matching.ask_now(bill.connection, to_ask, bill.now)
    _explain(bill, agreed)


def _has_waited(bill: Bill, kept: KeptLine, compared: Compared) -> bool:
    """Whether the provider, asked again, left the states different; or nobody can ask it."""
    account, ours = bill.line.account, compared.ours
    if not account.query or ours.state in (QUEUED, CANCELED):
        return True
    if kept.result != Result.WAITING or kept.result_at is None:
        return False
    if bill.now - kept.result_at > account.scaled(1) * PATIENCE:
        return True
    asked_at = compared.asked_at
    if ours.state in OPEN or asked_at is None or asked_at <= kept.result_at:
        return False
    return bill.now - asked_at > timedelta(seconds=account.total_timeout_s)  # answered by then


def _explain(bill: Bill, agreed: set[int]) -> None:
    if agreed:
        said = f"explained by the bill {storable(bill.statement.file_name)} ({bill.statement.id})"
        explained = explain_differences(
            bill.connection, agreed, EXPLAINABLE, bill.statement.id, said, bill.now
        )
        bill.counts["explained"] += explained


def _freeze(bill: Bill, order_ids: set[int]) -> None:
    """They have paid what we do not count: nothing more of the order goes before a person looks."""
    for order_id in sorted(order_ids):
        if lock_order(bill.connection, order_id).frozen_at is None:
            update_order(bill.connection, order_id, {"frozen_at": bill.now})


def look_for_unlisted(runtime: Runtime, line: Line, statement: Statement, counts: Counts) -> None:
    """Open a case for what succeeded in a bill's time and is in no bill, once it must be there.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    layout = line.account.statement
    after = (statement.covers_from, 0)
    with runtime.ledger.read() as connection:
        now = runtime.ledger.now(connection)
    complete = layout is not None and now >= statement.covers_until + layout.complete_after
    if statement.completed_at is not None or not complete:
        return
    while found := _next_unlisted(runtime, statement, after):
        after = (found[-1].state_at, found[-1].id)
        with runtime.ledger.write() as connection:
            still = still_unlisted(connection, [one.id for one in found])
            missed = [missing(line, statement, one) for one in found if one.id in still]
            now = runtime.ledger.now(connection)
            counts["cases"] += keep_differences(connection, missed, now)
        counts[Case.MISSING] += len(missed)
    with runtime.ledger.write() as connection:
        completed = {"completed_at": runtime.ledger.now(connection)}
        update_statement(connection, statement.id, completed)


def _next_unlisted(
    runtime: Runtime, statement: Statement, after: tuple[datetime, int]
) -> list[Unlisted]:
    """Looked for while nothing is locked: a day may have a million that are listed."""
    with runtime.ledger.read() as connection:
        return unlisted(connection, statement, after, CHUNK)
