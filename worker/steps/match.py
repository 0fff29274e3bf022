"""Match: holds a bill's lines beside the refunds, chunk by chunk. Safe to run twice, and at once.

A line's result is written in the transaction that opens its case, so a line is compared once.
"""

import sys
from collections.abc import Callable
from functools import partial

from worker.ledger import matching
from worker.ledger.matching import KeptLine
from worker.ledger.statements import Statement, lock_statement
from worker.refund import Case
from worker.runtime import Line, Runtime
from worker.statements.doubting import sign_of_stranger
from worker.statements.judging import Ours, Result, choose, of_no_refund
from worker.steps.compare_lines import CHUNK, decide, last_of, look
from worker.steps.differ import Bill, Counts
from worker.steps.doubts import is_stopped

#: Works on the lines of a result after one of them; the last one's number, None where none is left.
Stage = Callable[[Bill, int], int | None]


def match_statement(
    runtime: Runtime,
    line: Line,
    statement: Statement,
    counts: Counts,
    most: int,
    run_id: int | None,
) -> int:
    """Compare up to ``most`` chunks of what of a whole bill is not compared; returns how many.

    All lines are looked at before anything is opened or asked. Lines that wait for an answer are
    looked at whenever all others are compared; they do not count.

    Raises:
        ServiceAway: the ledger does not answer; what is committed stays.
    """
    chunks = partial(_chunks, runtime, line, statement, run_id, counts)
    done = 0
    for stage in (_link_by_number, _link_by_order, look):
        done += chunks(stage, most - done)
    if done >= most or is_stopped(runtime, line, statement, counts):
        return done
    done += chunks(_differing, most - done)
    if done < most:
        chunks(_waiting, sys.maxsize)
    return done


def _differing(bill: Bill, after: int) -> int | None:
    return decide(bill, Result.DIFFERS, after)


def _waiting(bill: Bill, after: int) -> int | None:
    return decide(bill, Result.WAITING, after)


def _chunks(
    runtime: Runtime,
    line: Line,
    statement: Statement,
    run_id: int | None,
    counts: Counts,
    stage: Stage,
    most: int,
) -> int:
    """Up to ``most`` chunks of a stage; returns how many there were."""
    chunk = partial(_chunk, runtime, line, statement, run_id, counts, stage)
    done, after = 0, chunk(0) if most > 0 else None
    while after is not None:
        done += 1
        after = chunk(after) if done < most else None
    return done


def _chunk(
    runtime: Runtime,
    line: Line,
    statement: Statement,
    run_id: int | None,
    counts: Counts,
    stage: Stage,
    after: int,
) -> int | None:
    """The next lines of a stage; the last one's number, None where there are none."""
    with runtime.ledger.write() as connection:
        locked = lock_statement(connection, statement.id)
        now = runtime.ledger.now(connection)
        bill = Bill(connection=connection, line=line, statement=locked, now=now, run_id=run_id)
        reached = stage(bill, after)
        bill.flush()
    counts.update(bill.counts)
    return reached


def _link_by_number(bill: Bill, after: int) -> int | None:
    """Find the refunds of lines by our number, then by the provider's."""
    connection, statement_id = bill.connection, bill.statement.id
    upto = matching.last_of_next(connection, statement_id, Result.NEW, after, CHUNK)
    if upto is None:
        return None
    matching.link_by_number(connection, statement_id, bill.merchant, after, upto, bill.now)
    _link_by_theirs(
        bill, matching.undone_lines(connection, statement_id, Result.NEW, after, CHUNK, upto)
    )
    return upto


def _link_by_theirs(bill: Bill, kept: list[KeptLine]) -> None:
    """Lines whose number is none of ours."""
    theirs = {one.line.provider_refund_no for one in kept} - {""}
    named = matching.refunds_numbered_by_provider(bill.connection, bill.merchant, theirs)
    for one in kept:
        if one.line.provider_refund_no in named:
            bill.link(one, named[one.line.provider_refund_no])
        elif one.line.refund_no:  # it names another refund: one of ours must not stand for it
            _look_at_stranger(bill, one, [])
        else:
            bill.write(one, Result.UNNUMBERED)


def _link_by_order(bill: Bill, after: int) -> int | None:
    """Find the refunds of lines that name none of ours by order, amount and day."""
    connection, statement_id = bill.connection, bill.statement.id
    kept = matching.undone_lines(connection, statement_id, Result.UNNUMBERED, after, CHUNK)
    order_nos = {one.line.order_no for one in kept} - {""}
    candidates = matching.refunds_of_orders(connection, bill.merchant, order_nos)
    ids = {ours.id for found in candidates.values() for ours in found}
    taken = set(matching.listed_in(connection, statement_id, ids))
    for one in kept:
        of_order = candidates.get(one.line.order_no, [])
        chosen = choose(one.line, of_order, taken)
        if chosen is None:
            _look_at_stranger(bill, one, of_order)
        else:
            taken.add(chosen.id)
            bill.link(one, chosen.id)
    return last_of(kept)


def _look_at_stranger(bill: Bill, one: KeptLine, of_order: list[Ours]) -> None:
    """A line of a refund that is not in the ledger."""
    result = of_no_refund(one.line, order_known=bool(of_order))
    if isinstance(result, Case):
        bill.differs(one, sign_of_stranger(one.line, of_order))
    else:
        bill.write(one, result)
