"""Notifications: what is stored, what is answered, and when; on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from refundry import State
from tests.integration.builders import MINUTE, NOW, Shop
from tests.integration.conftest import MakeShop
from tests.integration.notifications import (
    ACKNOWLEDGED,
    DECLINED,
    EXECUTED,
    IN_PROGRESS,
    baofu_notification,
    cases,
    counted,
    due_in,
    hkrt_account,
    kinds,
    notification,
    sent,
    stored,
    take,
)
from tests.providers.harness import OWN_OPTIONS
from worker.errors import Refused, ServiceAway
from worker.ledger.engine import Ledger
from worker.providers.base import Acknowledgement, Notifies
from worker.refund import Outcome, Verdict
from worker.steps.poll import _claim, apply
from worker.steps.sweep import sweep


@pytest.fixture
def shop(ledger: Ledger, make_shop: MakeShop) -> Shop:
    """A shop whose provider notifies it, and can be asked."""
    return make_shop(ledger, shop=hkrt_account())


@pytest.mark.parametrize("verdict", [None, Verdict.UNKNOWN, Verdict.PENDING])
def test_an_execution_is_absorbed_stored_and_acknowledged(
    shop: Shop, verdict: Verdict | None
) -> None:
    refund_id = sent(shop, verdict).refund.id
    body = notification(EXECUTED)
    taken = take(shop, body)
    assert taken.accepted
    assert taken.answer.body == ACKNOWLEDGED
    assert shop.state() is State.SUCCEEDED
    assert stored(shop) == [(refund_id, "R1", "succeeded", False, 1)]
    assert bytes(shop.value("SELECT body FROM callbacks")) == body
    assert shop.value("SELECT provider_refund_no FROM refunds") == "WX1"
    assert kinds(shop)[-1] == "notified"
    assert shop.audit() == []


def test_a_notification_after_the_success_brings_the_number_that_the_reply_did_not_have(
    shop: Shop,
) -> None:
    sent(shop, Verdict.PENDING)
    shop.wait(2 * MINUTE)
    (claimed,) = _claim(shop.runtime, shop.runtime.lines["shop"], 1)
    apply(shop.runtime, claimed, Outcome(verdict=Verdict.SUCCEEDED))
    assert shop.value("SELECT provider_refund_no FROM refunds") is None
    take(shop, notification(EXECUTED))
    assert shop.value("SELECT provider_refund_no FROM refunds") == "WX1"
    assert shop.audit() == []


def test_a_success_lets_the_orders_next_refund_go(shop: Shop) -> None:
    intent = sent(shop)
    shop.accept(refund_no="R2")
    assert take(shop, notification(EXECUTED)).wake == intent.order.id


def test_a_repeated_notification_is_counted_and_changes_nothing_more(shop: Shop) -> None:
    sent(shop)
    body = notification(EXECUTED)
    first = take(shop, body)
    before = kinds(shop)
    shop.wait(MINUTE)
    again = take(shop, body)
    assert (again.accepted, again.answer) == (first.accepted, first.answer)
    assert [row[-1] for row in stored(shop)] == [2]
    assert shop.value("SELECT last_at > first_at FROM callbacks")
    assert kinds(shop) == before


@pytest.mark.parametrize("late", [Verdict.PENDING, Verdict.SUCCEEDED, Verdict.UNKNOWN])
def test_the_answer_that_comes_after_the_notification_is_harmless(
    shop: Shop, late: Verdict
) -> None:
    intent = sent(shop, None)
    take(shop, notification(EXECUTED))
    shop.settle(intent, late)
    assert shop.state() is State.SUCCEEDED
    assert cases(shop) == []
    shop.wait(10 * MINUTE)
    sweep(shop.runtime)
    assert shop.state() is State.SUCCEEDED
    assert [one for one in shop.audit() if not one.warning] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (notification(EXECUTED).replace(b'"1"', b'"2"'), "forged"),
        (notification(EXECUTED, accessid="other"), "another_merchant"),
        (b"\x00\xff<xml>", "unreadable"),
        (b"", "unreadable"),
    ],
    ids=["forged", "another merchant's", "unreadable", "empty"],
)
def test_what_cannot_be_trusted_is_declined_and_counted_and_nothing_of_it_is_kept(
    shop: Shop, body: bytes, code: str
) -> None:
    sent(shop)
    before = kinds(shop)
    provider = shop.runtime.lines["shop"].provider
    assert isinstance(provider, Notifies)
    for _ in range(2):
        taken = take(shop, body)
        assert (taken.accepted, taken.answer, taken.wake) == (False, provider.declined, None)
    assert stored(shop) == []
    assert counted(shop) == {("shop", code): 2}
    assert (kinds(shop), shop.state()) == (before, State.PENDING)


def test_an_address_that_belongs_to_nobody_is_refused_and_counted(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop=hkrt_account(), till={})
    for account, code in (("gone", "unknown_account"), ("till", "no_notifications")):
        with pytest.raises(Refused) as refused:
            take(shop, notification(EXECUTED), account)
        assert refused.value.code == code
    assert counted(shop) == {("", "unknown_account"): 1, ("till", "no_notifications"): 1}
    assert stored(shop) == []


@pytest.mark.parametrize("number", ["R9", "R\x001", "“退”", "R" * 5000])
def test_a_number_that_nobody_has_asked_for_is_stored_and_acknowledged(
    shop: Shop, number: str
) -> None:
    taken = take(shop, notification(EXECUTED, refund_no=number))
    assert (taken.accepted, taken.answer.body) == (True, ACKNOWLEDGED)
    ((refund_id, _, verdict, _, _),) = stored(shop)
    assert (refund_id, verdict) == (None, "not_ours")


@pytest.mark.parametrize("state", ["submitting", "pending", "succeeded"])
def test_another_order_or_amount_opens_a_case_and_changes_no_state(shop: Shop, state: str) -> None:
    verdicts = {"submitting": None, "pending": Verdict.PENDING, "succeeded": Verdict.SUCCEEDED}
    sent(shop, verdicts[state])
    for body in (notification(EXECUTED, fen=11), notification(DECLINED, out_trade_no="O2")):
        assert take(shop, body).answer.body == ACKNOWLEDGED
    assert [row[2] for row in stored(shop)] == ["contradicts", "contradicts"]
    assert cases(shop) == ["mismatched"]
    assert shop.state() == state
    assert kinds(shop)[-1] == "mismatched"
    assert due_in(shop) == (None if state == "submitting" else timedelta())
    assert shop.audit() == []


def test_a_queued_refund_goes_no_sooner_for_a_message_about_something_else(shop: Shop) -> None:
    sent(shop, Verdict.BUSY)
    before = due_in(shop)
    assert before is not None
    assert before > timedelta()
    take(shop, notification(EXECUTED, fen=11))
    take(shop, notification(DECLINED))
    assert due_in(shop) == before


@pytest.mark.parametrize("status", [DECLINED, IN_PROGRESS, "7"])
@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.PENDING])
def test_anything_but_an_execution_makes_the_refund_due_now(
    shop: Shop, status: str, verdict: Verdict
) -> None:
    sent(shop, verdict)
    before = kinds(shop), shop.state()
    take(shop, notification(status))
    assert (kinds(shop), shop.state()) == before
    assert due_in(shop) == timedelta()
    assert cases(shop) == []


def test_a_decline_after_success_is_asked_about(shop: Shop) -> None:
    sent(shop, Verdict.SUCCEEDED)
    take(shop, notification(IN_PROGRESS))
    assert due_in(shop) != timedelta()
    take(shop, notification(DECLINED))
    assert due_in(shop) == timedelta()
    assert (shop.state(), cases(shop)) == (State.SUCCEEDED, [])


def test_an_execution_after_failure_opens_a_case_and_reserves_the_amount_again(shop: Shop) -> None:
    sent(shop, Verdict.REJECTED)
    assert take(shop, notification(EXECUTED)).answer.body == ACKNOWLEDGED
    assert (shop.state(), cases(shop)) == (State.FAILED, ["contradicted"])
    assert shop.value("SELECT reserved FROM orders") == 10
    assert shop.value("SELECT frozen_at IS NOT NULL FROM orders")
    assert shop.audit() == []


def test_no_question_comes_sooner_than_the_provider_allows(shop: Shop) -> None:
    provider = shop.runtime.lines["shop"].provider
    provider.traits = replace(provider.traits, query_not_before_s=60)
    sent(shop)
    take(shop, notification(IN_PROGRESS))
    assert due_in(shop) == MINUTE


def test_the_orders_figures_are_kept(shop: Shop) -> None:
    sent(shop)
    take(shop, notification(EXECUTED, refunded_amount="0.10", remanent_amount="0.90"))
    (row,) = shop.rows("SELECT provider_refunded, provider_left FROM orders")
    assert tuple(row) == (10, 90)
    assert shop.value("SELECT figures_at IS NOT NULL FROM orders")
    take(shop, notification(EXECUTED))  # says nothing of the order
    assert shop.value("SELECT provider_refunded FROM orders") == 10


def test_a_notification_that_was_overtaken_does_not_bring_back_older_figures(shop: Shop) -> None:
    sent(shop)
    for status, refunded in ((DECLINED, "0.30"), (IN_PROGRESS, "0.20"), (IN_PROGRESS, "0.40")):
        take(shop, notification(status, refunded_amount=refunded, remanent_amount="0.10"))
    assert shop.value("SELECT provider_refunded FROM orders") == 40
    take(shop, notification(IN_PROGRESS, refunded_amount="0.20", remanent_amount="0.80"))
    (row,) = shop.rows("SELECT provider_refunded, provider_left FROM orders")
    assert tuple(row) == (40, 10)


def test_two_accounts_of_a_merchant_are_told_of_each_others_refunds(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop=hkrt_account(), till=hkrt_account(channel="polymeric"))
    sent(shop)
    take(shop, notification(EXECUTED), "till")
    assert shop.state() is State.SUCCEEDED
    assert shop.audit() == []


@contextmanager
def no_commit(shop: Shop) -> Iterator[None]:
    """A ledger whose commits do not come through."""

    def fail(_: object) -> None:
        raise OperationalError("COMMIT", None, Exception("gone"))

    engine = shop.runtime.ledger.engine
    event.listen(engine, "commit", fail)
    try:
        yield
    finally:
        event.remove(engine, "commit", fail)


def test_what_was_not_committed_is_not_acknowledged_and_not_stored(shop: Shop) -> None:
    sent(shop)
    before = kinds(shop)
    with no_commit(shop), pytest.raises(ServiceAway):
        take(shop, notification(EXECUTED))
    assert (stored(shop), kinds(shop), shop.state()) == ([], before, State.PENDING)
    assert take(shop, notification(EXECUTED)).answer == Acknowledgement(
        body=ACKNOWLEDGED, content_type="application/json; charset=utf-8"
    )
    assert shop.state() is State.SUCCEEDED


def test_baofus_refund_is_settled_by_what_it_tells(ledger: Ledger, make_shop: MakeShop) -> None:
    own = {"provider": "baofu", **OWN_OPTIONS["baofu"]}
    shop = make_shop(ledger, shop=own)
    sent(shop, paid_at=(NOW - timedelta(days=1)).isoformat(), reason="七天无理由")
    assert take(shop, baofu_notification("REFUND")).answer.body == b"OK"
    assert shop.state() is State.PENDING
    assert due_in(shop) == MINUTE
    assert take(shop, baofu_notification("SUCCESS", succAmt=10)).answer.body == b"OK"
    assert shop.state() is State.SUCCEEDED


def test_the_audit_names_a_refund_with_another_merchants_notification(shop: Shop) -> None:
    sent(shop)
    take(shop, notification(IN_PROGRESS))
    assert shop.audit() == []
    shop.execute("UPDATE accounts SET merchant = 'hkrt/other'")
    assert [(one.promise, one.row) for one in shop.audit()] == [("I6", "refund shop/R1")]
