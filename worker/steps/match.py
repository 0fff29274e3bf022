"""Match: holds a bill's lines beside the refunds, chunk by chunk. Safe to run twice, and at once.

A line's result is written in the transaction that opens its case, so a line is compared once.
"""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from worker.ledger import matching
from worker.ledger.differences import explain_differences
from worker.ledger.journal import storable
from worker.ledger.matching import Compared, KeptLine
from worker.ledger.orders import lock_order, update_order
from worker.ledger.statements import (
    Statement,
    lock_statement,
    unlisted,
    update_statement,
)
from worker.refund import CANCELED, OPEN, QUEUED, Case
from worker.runtime import Line, Runtime
from worker.statements.judging import EXPLAINABLE, Result, choose, judge, of_no_refund
from worker.statements.reading import StatementLine
from worker.steps.differ import Bill, Counts, keep_about, keep_missing, keep_strange

#: Lines that one transaction compares.
CHUNK: Final = 500
#: So long the provider is asked where the states differ, before a person has to look.
PATIENCE: Final = timedelta(days=1)


Stage = Callable[[Bill, list[KeptLine]], None]


def match_statement(
    runtime: Runtime, line: Line, statement: Statement, counts: Counts, most: int
) -> int:
    """Compare up to ``most`` chunks of what of a whole bill is not compared; returns how many.

    Lines that wait for an answer are looked at whenever all others are compared; they do not count.

    Raises:
        ServiceAway: the ledger does not answer; what is committed stays.
    """
    stages: tuple[tuple[Result, Stage], ...] = (
        (Result.NEW, _link_by_number),
        (Result.UNNUMBERED, _link_by_order),
        (Result.LINKED, _compare),
    )
    done = 0
    for result, stage in stages:
        while done < most and _chunk(runtime, line, statement, result, stage, 0, counts):
            done += 1
    after: int | None = 0
    while done < most and after is not None:
        after = _chunk(runtime, line, statement, Result.WAITING, _compare, after, counts)
    return done


def _chunk(
    runtime: Runtime,
    line: Line,
    statement: Statement,
    result: Result,
    stage: Stage,
    after: int,
    counts: Counts,
) -> int | None:
    """The next lines of a stage; the last one's number, None where there are none."""
    with runtime.ledger.write() as connection:
        locked = lock_statement(connection, statement.id)
        kept = matching.undone_lines(connection, statement.id, result, after, CHUNK)
        if not kept:
            return None
        bill = Bill(
            connection=connection,
            line=line,
            statement=locked,
            now=runtime.ledger.now(connection),
            counts=Counter(),
        )
        stage(bill, kept)
        update_statement(connection, statement.id, {"results": _results(bill)})
    counts.update(bill.counts)
    return kept[-1].line.number


def _results(bill: Bill) -> dict[str, int]:
    """How many lines of the bill have which result by now."""
    counted = Counter(bill.statement.results)
    counted.update({name: bill.counts[name] for name in (*Result, *Case) if name in bill.counts})
    counted[Result.WAITING] -= bill.counts["answered"]
    return {name: number for name, number in counted.items() if number}


def _link_by_number(bill: Bill, kept: list[KeptLine]) -> None:
    """Find the refunds of lines by our number, then by the provider's."""
    lines = [one.line for one in kept]
    connection, merchant = bill.connection, bill.merchant
    numbers = {line.refund_no for line in lines} - {""}
    ours = matching.refunds_numbered(connection, merchant, numbers)
    theirs = {line.provider_refund_no for line in lines if line.refund_no not in ours} - {""}
    named = matching.refunds_numbered_by_provider(connection, merchant, theirs)
    strange = []
    for line in lines:
        refund_id = ours.get(line.refund_no) or named.get(line.provider_refund_no)
        if refund_id is not None:
            bill.write(line, Result.LINKED, refund_id)
        elif line.refund_no:  # it names another refund: one of ours must not stand for it
            strange.append(line)
        else:
            bill.write(line, Result.UNNUMBERED, None)
    _write_strange(bill, strange)


def _link_by_order(bill: Bill, kept: list[KeptLine]) -> None:
    """Find the refunds of lines that name none of ours by order, amount and day."""
    order_nos = {one.line.order_no for one in kept} - {""}
    candidates = matching.refunds_of_orders(bill.connection, bill.merchant, order_nos)
    ids = {ours.id for found in candidates.values() for ours in found}
    taken = set(matching.listed_in(bill.connection, bill.statement.id, ids))
    strange = []
    for one in kept:
        chosen = choose(one.line, candidates.get(one.line.order_no, []), taken)
        if chosen is None:
            strange.append(one.line)
        else:
            taken.add(chosen.id)
            bill.write(one.line, Result.LINKED, chosen.id)
    _write_strange(bill, strange)


def _write_strange(bill: Bill, lines: list[StatementLine]) -> None:
    """Lines of refunds that are not in the ledger."""
    order_nos = {line.order_no for line in lines} - {""}
    known = matching.known_orders(bill.connection, bill.merchant, order_nos)
    for line in lines:
        order_id = known.get(line.order_no)
        result = of_no_refund(line, order_known=order_id is not None)
        if isinstance(result, Case):
            keep_strange(bill, line, result, order_id)
        bill.write(line, result, None)


def _compare(bill: Bill, kept: list[KeptLine]) -> None:
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
                    bill.write(one.line, result, one.refund_id)
                continue
            result = Case.STATE_DIFFERS
            to_freeze |= {ours.ours.order_id} if one.line.succeeded else set()
        if isinstance(result, Case):
            keep_about(bill, one.line, result, ours.ours)
        elif result is Result.AGREED:
            agreed.add(one.refund_id)
        if one.result == Result.WAITING:
            bill.counts["answered"] += 1
        bill.write(one.line, result, one.refund_id)
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
    while True:
        with runtime.ledger.write() as connection:
            now = runtime.ledger.now(connection)
            found = unlisted(connection, statement, after, CHUNK)
            for one in found:
                counts["cases"] += keep_missing(connection, line, statement, one, now)
                counts[Case.MISSING] += 1
            if len(found) < CHUNK:
                update_statement(connection, statement.id, {"completed_at": now})
                return
            after = (found[-1].state_at, found[-1].id)
