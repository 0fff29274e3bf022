"""A notification comes when it likes: at once with itself, with the answer, with a question."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from threading import Barrier
from typing import Any

import pytest

from refundry import State
from tests.integration.builders import MINUTE, Shop, race
from tests.integration.conftest import MakeShop
from tests.integration.notifications import (
    DECLINED,
    EXECUTED,
    IN_PROGRESS,
    hkrt_account,
    notification,
    take,
)
from worker.ledger.engine import Ledger
from worker.refund import Outcome, Verdict
from worker.steps.intent import Intent
from worker.steps.poll import _claim, apply

ROUNDS = range(12)


@pytest.fixture
def shop(postgres_ledger: Ledger, make_shop: MakeShop) -> Shop:
    """A shop on PostgreSQL, where transactions really run at once."""
    return make_shop(postgres_ledger, shop=hkrt_account())


def sent(shop: Shop, number: int) -> tuple[str, Intent]:
    refund_no = f"R{number}"
    intent = shop.claim(shop.accept(order_no=f"O{number}", refund_no=refund_no).order_id)
    assert intent is not None
    return refund_no, intent


def at_once(*steps: Any) -> list[Any]:
    """Runs the steps at once, each in a thread; what they gave."""
    barrier = Barrier(len(steps))

    def run(step: Any) -> Any:
        barrier.wait(timeout=20)
        return step()

    with ThreadPoolExecutor(len(steps)) as pool:
        return list(pool.map(run, steps))


def finals(shop: Shop, refund_no: str) -> int:
    """How many events brought the refund to a final state."""
    rows = shop.rows(
        "SELECT e.state FROM events e JOIN refunds r ON r.id = e.refund_id"
        " WHERE r.refund_no = :no ORDER BY e.seq",
        no=refund_no,
    )
    states = [row.state for row in rows]
    return sum(a != b and b in ("succeeded", "failed") for a, b in pairwise(["", *states]))


def test_the_same_bytes_at_once_are_one_row_and_one_change(shop: Shop) -> None:
    refund_no, intent = sent(shop, 1)
    shop.settle(intent, Verdict.PENDING)
    body = notification(EXECUTED, refund_no=refund_no)
    taken = race(lambda _: take(shop, body))
    assert all(one.accepted for one in taken)
    assert shop.value("SELECT times FROM callbacks") == len(taken)
    assert finals(shop, refund_no) == 1
    assert shop.audit() == []


def test_the_same_bytes_at_once_about_nobodys_refund_are_one_row(shop: Shop) -> None:
    body = notification(EXECUTED, refund_no="R9")
    assert all(one.accepted for one in race(lambda _: take(shop, body)))
    assert [tuple(row) for row in shop.rows("SELECT times, refund_id FROM callbacks")] == [
        (8, None)
    ]


def test_the_same_forgery_at_once_is_counted_each_time(shop: Shop) -> None:
    body = notification(EXECUTED).replace(b'"1"', b'"2"')
    race(lambda _: take(shop, body))
    assert shop.value("SELECT times FROM refused_callbacks") == 8


@pytest.mark.parametrize("answer", [Verdict.PENDING, Verdict.SUCCEEDED, Verdict.UNKNOWN])
def test_an_answer_and_a_notification_at_once_end_in_one_success(
    shop: Shop, answer: Verdict
) -> None:
    for number in ROUNDS:
        refund_no, intent = sent(shop, number)
        body = notification(EXECUTED, refund_no=refund_no)
        at_once(partial(shop.settle, intent, answer), partial(take, shop, body))
        assert shop.state(refund_no) is State.SUCCEEDED
        assert finals(shop, refund_no) == 1
    assert shop.rows("SELECT * FROM cases") == []
    assert shop.audit() == []


@pytest.mark.parametrize("status", [DECLINED, IN_PROGRESS])
def test_an_answer_and_a_denial_at_once_leave_the_answer(shop: Shop, status: str) -> None:
    for number in ROUNDS:
        refund_no, intent = sent(shop, number)
        body = notification(status, refund_no=refund_no)
        at_once(partial(shop.settle, intent, Verdict.PENDING), partial(take, shop, body))
        assert shop.state(refund_no) is State.PENDING
    assert shop.value("SELECT count(*) FROM refunds WHERE due_at IS NULL") == 0
    assert shop.audit() == []


@pytest.mark.parametrize("reply", [Verdict.PENDING, Verdict.SUCCEEDED, Verdict.UNKNOWN])
def test_a_reply_and_a_notification_at_once_end_in_one_success(shop: Shop, reply: Verdict) -> None:
    for number in ROUNDS:
        refund_no, intent = sent(shop, number)
        shop.settle(intent, Verdict.PENDING)
        shop.wait(2 * MINUTE)
        (claimed,) = _claim(shop.runtime, shop.runtime.lines["shop"], 10)
        outcome, body = Outcome(verdict=reply), notification(EXECUTED, refund_no=refund_no)
        at_once(partial(apply, shop.runtime, claimed, outcome), partial(take, shop, body))
        assert shop.state(refund_no) is State.SUCCEEDED
        assert finals(shop, refund_no) == 1
        shop.execute("UPDATE refunds SET due_at = NULL")
    assert shop.rows("SELECT * FROM cases") == []


def test_a_queried_decline_and_an_execution_at_once_end_in_a_case_that_somebody_owns(
    shop: Shop,
) -> None:
    for number in ROUNDS:
        refund_no, intent = sent(shop, number)
        shop.settle(intent, Verdict.PENDING)
        shop.wait(10 * MINUTE)
        (claimed,) = _claim(shop.runtime, shop.runtime.lines["shop"], 10)
        outcome = Outcome(verdict=Verdict.REJECTED)
        body = notification(EXECUTED, refund_no=refund_no)
        at_once(partial(apply, shop.runtime, claimed, outcome), partial(take, shop, body))
        contradicted = shop.value("SELECT count(*) FROM cases WHERE kind = 'contradicted'")
        assert shop.state(refund_no) is State.SUCCEEDED or contradicted
        assert finals(shop, refund_no) == 1
        shop.execute("UPDATE refunds SET due_at = NULL")
    assert [one for one in shop.audit() if not one.warning] == []
