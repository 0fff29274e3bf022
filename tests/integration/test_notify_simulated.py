"""The simulator's notifications, over HTTP, into the real step: with a query and without one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from refundry import State
from tests.integration.builders import MINUTE, Shop
from tests.integration.conftest import MakeShop
from tests.integration.notifications import cases, told_shop
from tests.simulator.harness import Sim, await_true
from worker.ledger.engine import Ledger
from worker.steps.poll import poll
from worker.steps.submit import submit
from worker.steps.sweep import sweep

PROVIDERS = ["hkrt", "baofu"]
GRACE = timedelta(seconds=326)
#: What goes wrong with a refund and its notification, and where it ends.
STORIES: dict[str, tuple[dict[str, Any], State]] = {
    "executed": ({}, State.SUCCEEDED),
    "declined": ({"fate": "pending_decline:99", "settle_s": 0.1}, State.FAILED),
    "accepted first": ({"fate": "pending:99", "settle_s": 0.1}, State.SUCCEEDED),
    "answer lost": ({"submit": ["reset_after"]}, State.SUCCEEDED),
    "told late": ({"notify": ["late:0.3"]}, State.SUCCEEDED),
    "told twice": ({"notify": ["twice"]}, State.SUCCEEDED),
    "overtaken": ({"notify": ["reordered"]}, State.SUCCEEDED),
}
#: Those that only a question can bring to an end.
NEEDS_ASKING: dict[str, tuple[dict[str, Any], State]] = {
    "not told": ({"fate": "pending:1", "notify": ["none"]}, State.SUCCEEDED),
    "a forger": ({"fate": "pending:1", "notify": ["forged"]}, State.SUCCEEDED),
    "another amount": ({"fate": "pending:1", "notify": ["wrong_amount"]}, State.SUCCEEDED),
    "the opposite": ({"fate": "pending:1", "notify": ["contradicting"]}, State.SUCCEEDED),
}


def send(shop: Shop, refund_no: str) -> None:
    """Intake and submission of a refund of an order of its own."""
    paid_at = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    order = {"order_no": f"O{refund_no}", "paid_at": paid_at, "reason": "七天无理由"}
    submit(shop.runtime, shop.accept(refund_no=refund_no, **order).order_id)


def acknowledged(sim: Sim, refund_no: str, times: int = 1) -> Callable[[], bool]:
    return lambda: len(sim.log(event="notify", refund=refund_no, acknowledged=True)) >= times


@pytest.mark.parametrize("provider", PROVIDERS)
def test_notifications_alone_bring_every_refund_to_its_end(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str, provider: str
) -> None:
    with told_shop(ledger, make_shop, sim, provider, query=False) as (shop, _):
        numbers = [f"{number}x{index}" for index in range(len(STORIES))]
        for refund_no, (plan, _) in zip(numbers, STORIES.values(), strict=True):
            sim.plan(provider, refund_no, **plan)
            send(shop, refund_no)
        for refund_no, how in zip(numbers, STORIES, strict=True):
            await_true(acknowledged(sim, refund_no, 2 if how in ("told twice", "overtaken") else 1))
        shop.wait(GRACE)
        sweep(shop.runtime)
        ends = [shop.state(refund_no) for refund_no in numbers]
        assert ends == [state for _, state in STORIES.values()]
        assert cases(shop) == []
        assert [one for one in shop.audit() if not one.warning] == []
    assert [sim.log(event="query", refund=refund_no) for refund_no in numbers] == [[]] * len(
        numbers
    )
    executed = [sim.entry(refund_no)["executions"] for refund_no in numbers]
    assert executed == [state is State.SUCCEEDED for state in ends]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_with_a_query_bad_notifications_do_no_harm(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str, provider: str
) -> None:
    stories = STORIES | NEEDS_ASKING
    with told_shop(ledger, make_shop, sim, provider) as (shop, _):
        numbers = [f"{number}x{index}" for index in range(len(stories))]
        for refund_no, (plan, _) in zip(numbers, stories.values(), strict=True):
            sim.plan(provider, refund_no, **plan)
            send(shop, refund_no)
        for _ in range(8):
            shop.wait(2 * MINUTE)
            poll(shop.runtime)
        for refund_no, how in zip(numbers, stories, strict=True):
            if how == "a forger":
                sim.await_log(event="notify", refund=refund_no)
            elif how != "not told":
                await_true(acknowledged(sim, refund_no))
        shop.wait(2 * MINUTE)
        poll(shop.runtime)
        ends = [shop.state(refund_no) for refund_no in numbers]
        assert ends == [state for _, state in stories.values()]
        assert cases(shop) == ["mismatched"]
        assert shop.value("SELECT count(*) FROM orders WHERE frozen_at IS NOT NULL") == 0
        assert shop.value("SELECT min(times) FROM refused_callbacks WHERE code = 'forged'") >= 1
        assert [one for one in shop.audit() if not one.warning] == []


def test_a_notification_may_be_faster_than_the_answer(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    with told_shop(ledger, make_shop, sim, "hkrt") as (shop, _):
        sim.plan("hkrt", number, submit=["slow:1"])
        send(shop, number)  # waits for the answer
        (told,) = sim.log(event="notify", refund=number)
        (answered,) = sim.log(event="submit", refund=number)
        assert told["acknowledged"]
        assert told["at"] < answered["at"]
        assert shop.state(number) is State.SUCCEEDED
        kinds = [row.kind for row in shop.rows("SELECT kind FROM events ORDER BY seq")]
        assert kinds == ["accepted", "submitting", "notified"]
        assert [one for one in shop.audit() if not one.warning] == []
