"""Guanaitong's own messages, from the simulator over HTTP into the real step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from refundry import State
from tests.integration.builders import MINUTE, Shop
from tests.integration.conftest import MakeShop
from tests.integration.notifications import cases, told_shop
from tests.simulator.ear import Ear
from tests.simulator.harness import APPID, Sim
from worker.ledger.engine import Ledger
from worker.steps.poll import poll
from worker.steps.submit import submit
from worker.steps.sweep import sweep

Told = tuple[Shop, Ear]


@pytest.fixture
def told(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, request: pytest.FixtureRequest
) -> Iterator[Told]:
    """A shop whose provider is the simulator's, and the address that it notifies."""
    own = {"read_timeout_s": 0.3, "query": request.param}
    with told_shop(ledger, make_shop, sim, "guanaitong", **own) as both:
        yield both


def send(shop: Shop, sim: Sim, number: str, **plan: Any) -> str:
    """Intake and submission of a refund of an order of its own; its number."""
    refund_no = f"{APPID}{number}"
    sim.plan("guanaitong", refund_no, **plan)
    job = {"order_no": f"{APPID}O{number}", "refund_no": refund_no, "reason": "七天无理由"}
    submit(shop.runtime, shop.accept(**job).order_id)
    return refund_no


@pytest.mark.parametrize("told", [False], indirect=True)
@pytest.mark.parametrize("plan", [{}, {"notify": ["stale"]}, {"notify": ["twice"]}])
def test_where_nobody_can_be_asked_the_message_brings_a_lost_answer_to_its_end(
    told: Told, sim: Sim, number: str, plan: dict[str, Any]
) -> None:
    shop, _ = told
    refund_no = send(shop, sim, number, submit=["reset_after"], **plan)
    sim.await_log(event="notify", refund=refund_no, acknowledged=True)
    assert shop.state(refund_no) is State.SUCCEEDED
    number_there = sim.entry(refund_no)["provider_refund_no"]
    assert shop.value("SELECT provider_refund_no FROM refunds") == number_there
    assert sim.log(event="query", refund=refund_no) == []


@pytest.mark.parametrize("told", [False], indirect=True)
def test_silence_proves_nothing(told: Told, sim: Sim, number: str) -> None:
    shop, one = told
    refund_no = send(shop, sim, number, fate="decline")
    shop.wait(25 * 60 * MINUTE)
    sweep(shop.runtime)
    assert shop.state(refund_no) is State.UNKNOWN
    assert cases(shop) == ["aged"]
    assert one.heard == []


@pytest.mark.parametrize("told", [True], indirect=True)
def test_a_stale_message_is_a_reason_to_ask(told: Told, sim: Sim, number: str) -> None:
    shop, _ = told
    refund_no = send(shop, sim, number, submit=["reset_after"], notify=["stale"])
    sim.await_log(event="notify", refund=refund_no, acknowledged=True)
    assert shop.state(refund_no) is State.UNKNOWN
    shop.wait(2 * MINUTE)  # the message may come before the answer, whose schedule then holds
    poll(shop.runtime)
    assert shop.state(refund_no) is State.SUCCEEDED
    assert cases(shop) == []


@pytest.mark.parametrize("told", [True], indirect=True)
def test_a_forged_message_is_answered_fail_and_changes_nothing(
    told: Told, sim: Sim, number: str
) -> None:
    shop, _ = told
    refund_no = send(shop, sim, number, submit=["reset_after"], notify=["forged"])
    event = sim.await_log(event="notify", refund=refund_no)
    assert (event["status"], event["acknowledged"]) == (400, False)
    assert shop.state(refund_no) is State.UNKNOWN
    assert shop.value("SELECT min(times) FROM refused_callbacks WHERE code = 'forged'") >= 1


@pytest.mark.parametrize("told", [True], indirect=True)
def test_a_message_about_another_amount_is_a_case(told: Told, sim: Sim, number: str) -> None:
    shop, _ = told
    refund_no = send(shop, sim, number, submit=["reset_after"], notify=["wrong_amount"])
    sim.await_log(event="notify", refund=refund_no, acknowledged=True)
    assert shop.state(refund_no) is State.UNKNOWN
    assert cases(shop) == ["mismatched"]
