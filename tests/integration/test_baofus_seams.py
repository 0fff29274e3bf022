"""An account that is set up wrongly is paused; a provider that needs a minute is given it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from refundry import State
from tests.integration.builders import MINUTE, NOW, SOMEBODY, Shop
from tests.integration.conftest import MakeShop
from tests.providers.harness import OWN_OPTIONS
from tests.simulator.harness import Sim
from worker.ledger.engine import Ledger
from worker.ledger.tables import refunds
from worker.refund import Outcome, Verdict
from worker.steps.command import cancel_refund, resume
from worker.steps.poll import _claim, apply, poll
from worker.steps.settle import settle
from worker.steps.submit import submit
from worker.steps.sweep import sweep

WRONG = Outcome(verdict=Verdict.MISCONFIGURED, code="MERCHANT_NOT_EXIST", message="商户不存在")


def reason(shop: Shop, account: str = "shop") -> object:
    return shop.value("SELECT paused_reason FROM accounts WHERE name = :name", name=account)


def test_an_account_that_is_set_up_wrongly_is_paused_and_no_refund_fails(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop={}, other={})
    orders = [shop.accept(order_no=f"O{n}", refund_no=f"R{n}").order_id for n in (1, 2)]
    elsewhere = shop.accept(account="other", refund_no="R3").order_id
    intent = shop.claim(orders[0])
    assert intent is not None
    settle(shop.runtime, intent, WRONG)
    assert reason(shop) == "MERCHANT_NOT_EXIST"
    assert reason(shop, "other") is None
    assert_due(shop, 1, 1.1, refund_no="R1")  # not at once when somebody resumes too early
    assert shop.state() == State.QUEUED
    assert shop.value("SELECT status FROM attempts") == "busy"
    shop.wait(10 * MINUTE)
    assert [shop.claim(order_id) for order_id in orders] == [None, None]
    assert shop.claim(elsewhere) is not None
    assert shop.audit() == []
    resume(shop.runtime.ledger, "shop", SOMEBODY)
    assert set(sweep(shop.runtime).wake) >= set(orders)
    assert all(shop.claim(order_id) for order_id in orders)


def test_people_are_alerted_once_and_an_account_that_is_paused_already_keeps_its_reason(
    shop: Shop,
) -> None:
    orders = [shop.accept(order_no=f"O{n}", refund_no=f"R{n}").order_id for n in (1, 2)]
    intents = [intent for order_id in orders if (intent := shop.claim(order_id))]
    with capture_logs() as logs:
        for intent, code in zip(intents, ("VERIFY_ERROR", "UNOPENED_PRODUCT"), strict=True):
            settle(shop.runtime, intent, replace(WRONG, code=code))
    assert reason(shop) == "VERIFY_ERROR"
    paused = [log for log in logs if log["event"] == "account.paused"]
    assert paused == [
        {
            "event": "account.paused",
            "log_level": "error",
            "account": "shop",
            "reason": "VERIFY_ERROR",
        }
    ]


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_no_question_comes_sooner_than_the_provider_allows(
    ledger: Ledger, make_shop: MakeShop, scale: float
) -> None:
    shop = make_shop(ledger, shop={"poll_schedule_s": [1], "time_scale": scale})
    provider = shop.runtime.lines["shop"].provider
    provider.traits = replace(provider.traits, query_not_before_s=60)
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    shop.wait(timedelta(seconds=5))
    shop.settle(intent, Verdict.UNKNOWN)
    assert_due(shop, 60 * scale, 60 * scale)
    shop.wait(timedelta(seconds=5))
    shop.settle(intent, Verdict.PENDING)  # a late answer does not bring the question forward
    assert_due(shop, 60 * scale, 60 * scale)


def assert_due(shop: Shop, least: float, most: float, refund_no: str = "R1") -> None:
    of_refund = select(refunds.c.due_at).where(refunds.c.refund_no == refund_no)
    with shop.runtime.ledger.read() as connection:
        due_at = connection.execute(of_refund).scalar_one()
    assert NOW + timedelta(seconds=least) <= due_at <= NOW + timedelta(seconds=most)


def test_baofus_refunds_of_one_order_go_one_after_the_other_and_end_well(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    own = {"provider": "baofu", "base_url": f"{sim.url}/bf/api", **OWN_OPTIONS["baofu"]}
    shop = make_shop(ledger, shop=own)
    sim.plan("baofu", f"{number}a", fate="pending:2")
    paid_at = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for end in ("a", "b"):
        more = {"order_no": number, "refund_no": number + end, "paid_at": paid_at, "reason": "“”"}
        order_id = shop.accept(**more).order_id
    submit(shop.runtime, order_id)
    assert shop.state(f"{number}a") is State.PENDING
    assert poll(shop.runtime).asked == 0
    for _ in range(4):
        shop.wait(2 * MINUTE)
        poll(shop.runtime)
        submit(shop.runtime, order_id)
    for end in ("a", "b"):
        assert shop.state(number + end) is State.SUCCEEDED
        assert sim.entry(number + end)["executions"] == 1
    assert sim.log(event="refused", refund=f"{number}b") == []
    assert shop.audit() == []


def test_a_wrong_set_up_that_a_question_shows_pauses_the_account_as_well(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger)
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    shop.settle(intent, Verdict.PENDING)
    events = shop.value("SELECT count(*) FROM events")
    shop.wait(2 * MINUTE)
    (claimed,) = _claim(shop.runtime, shop.runtime.lines["shop"], 10)
    assert not apply(shop.runtime, claimed, WRONG)
    assert reason(shop) == "MERCHANT_NOT_EXIST"
    assert shop.state() is State.PENDING
    assert shop.value("SELECT count(*) FROM events") == events


def test_a_refund_whose_window_passes_while_it_waits_is_handed_to_a_person(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger)
    provider = shop.runtime.lines["shop"].provider
    provider.traits = replace(provider.traits, window_years=1)
    paid_at = NOW - timedelta(days=364)
    order_id = shop.accept(paid_at=paid_at.isoformat()).order_id
    shop.accept(refund_no="R2")
    shop.wait(timedelta(days=2))
    assert [shop.claim(order_id), shop.claim(order_id)] == [None, None]
    assert [row.kind for row in shop.rows("SELECT kind FROM cases")] == ["limit"]
    assert shop.value("SELECT count(*) FROM attempts") == 0
    assert sweep(shop.runtime).wake == []
    assert shop.state() is State.QUEUED
    cancel_refund(shop.runtime, "shop", "R1")
    assert shop.claim(order_id) is None  # the next one meets the same limit
    shop.execute("UPDATE orders SET paid_at = :at", at=paid_at + timedelta(days=300))
    shop.wait(timedelta(days=1))
    intent = shop.claim(order_id)
    assert intent is not None
    assert intent.refund.refund_no == "R2"


@pytest.mark.parametrize("size", [2**53 + 1, 2**63, 2**70])
def test_a_number_in_a_providers_own_field_is_kept_as_it_is_however_large(
    ledger: Ledger, make_shop: MakeShop, size: int
) -> None:
    own = {"provider": "baofu", "base_url": "http://127.0.0.1:9", **OWN_OPTIONS["baofu"]}
    shop = make_shop(ledger, shop=own)
    paid_at = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    shop.accept(reason="returned", paid_at=paid_at, extra={"advanceAmt": size})
    with ledger.read() as connection:
        (request,) = connection.execute(select(refunds.c.request)).scalars()
    assert request["extra"] == {"advanceAmt": size}
