"""Holds lines of a bill beside their refunds: first all are looked at, then differences count.

Nothing is opened or asked before every line was looked at: where most differ alike it is the
reading that is wrong.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from worker.ledger import matching
from worker.ledger.differences import explain_differences
from worker.ledger.journal import storable
from worker.ledger.matching import Compared, KeptLine
from worker.ledger.orders import lock_order, update_order
from worker.refund import CANCELED, OPEN, QUEUED, Case
from worker.statements.doubting import sign_of
from worker.statements.judging import EXPLAINABLE, Result, judge, of_no_refund
from worker.steps.differ import Bill, keep_about, keep_strange

#: Lines that one transaction works on.
CHUNK: Final = 2000
#: So long the provider is asked where the states differ, before a person has to look.
PATIENCE: Final = timedelta(days=1)


def look(bill: Bill, after: int) -> int | None:
    """Whether the next lines agree with their refunds; of those that do not, in which way."""
    kept = matching.undone_lines(bill.connection, bill.statement.id, Result.LINKED, after, CHUNK)
    agreed: set[int] = set()
    for one, ours, result in _judged(bill, kept):
        if isinstance(result, Case) or result is Result.WAITING:
            bill.differs(one, sign_of(result, one.line, ours.ours))
            continue
        if result is Result.AGREED:
            agreed.add(ours.ours.id)
        bill.write(one, result)
    _explain(bill, agreed)
    return last_of(kept)


def last_of(kept: list[KeptLine]) -> int | None:
    """Number of the last of the lines."""
    return kept[-1].line.number if kept else None


def decide(bill: Bill, result: Result, after: int) -> int | None:
    """What comes of the next lines that differ, or wait for an answer: a question, or a case."""
    kept = matching.undone_lines(bill.connection, bill.statement.id, result, after, CHUNK)
    linked = _link_late([one for one in kept if one.refund_id is None], bill)
    _decide(bill, [one for one in kept if one.refund_id is not None] + linked)
    return last_of(kept)


def _link_late(kept: list[KeptLine], bill: Bill) -> list[KeptLine]:
    """Cases of lines without a refund; those whose refund is here by now."""
    numbers = {one.line.refund_no for one in kept} - {""}
    ours = matching.refunds_numbered(bill.connection, bill.merchant, numbers) if numbers else {}
    linked, strange = [], []
    for one in kept:
        refund_id = ours.get(one.line.refund_no)
        if refund_id is None:
            strange.append(one)
        else:
            bill.link(one, refund_id)
            linked.append(replace(one, refund_id=refund_id, result=Result.LINKED))
    _keep_strangers(bill, strange)
    return linked


def _keep_strangers(bill: Bill, kept: list[KeptLine]) -> None:
    order_nos = {one.line.order_no for one in kept} - {""}
    known = matching.known_orders(bill.connection, bill.merchant, order_nos) if kept else {}
    for one in kept:
        order_id = known.get(one.line.order_no)
        result = of_no_refund(one.line, order_known=order_id is not None)
        if isinstance(result, Case):
            keep_strange(bill, one.line, result, order_id)
        bill.write(one, result)


def _decide(bill: Bill, kept: list[KeptLine]) -> None:
    to_ask: set[int] = set()
    agreed: set[int] = set()
    to_freeze: set[int] = set()
    for one, ours, result in _judged(bill, kept):
        if result is Result.WAITING:
            if not _has_waited(bill, one, ours):
                if one.result != Result.WAITING:
                    to_ask.add(ours.ours.id)
                    bill.write(one, result)
                continue
            result = Case.STATE_DIFFERS
            to_freeze |= {ours.ours.order_id} if one.line.succeeded else set()
        if isinstance(result, Case):
            keep_about(bill, one.line, result, ours.ours)
        elif result is Result.AGREED:
            agreed.add(ours.ours.id)
        bill.write(one, result)
    _freeze(bill, to_freeze)  # orders are locked before refunds
    matching.ask_now(bill.connection, to_ask, bill.now)
    _explain(bill, agreed)


Judged = tuple[KeptLine, Compared, Result | Case]


def _judged(bill: Bill, kept: list[KeptLine]) -> Iterator[Judged]:
    """Lines beside the refunds that they are of."""
    ids = {one.refund_id for one in kept if one.refund_id is not None}
    compared = matching.refunds_beside(bill.connection, ids)
    listed = matching.listed_in(bill.connection, bill.statement.id, ids)
    for one in kept:
        assert one.refund_id is not None
        ours = compared[one.refund_id]
        others = matching.beside(listed.get(one.refund_id, []), one.line.number)
        yield one, ours, judge(one.line, ours.ours, others)


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
