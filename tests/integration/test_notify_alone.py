"""Notifications that have to do by themselves, and those whose time is too far off."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from refundry import State
from tests.integration.builders import MINUTE, NOW, Shop
from tests.integration.conftest import MakeShop
from tests.integration.notifications import (
    ACKNOWLEDGED,
    DECLINED,
    EXECUTED,
    cases,
    due_in,
    hkrt_account,
    kinds,
    notification,
    sent,
    stored,
    take,
)
from worker.ledger.engine import Ledger
from worker.providers.hkrt import Hkrt
from worker.refund import Verdict
from worker.steps.sweep import sweep

GRACE = timedelta(seconds=325)


@pytest.fixture
def shop(ledger: Ledger, make_shop: MakeShop) -> Shop:
    """A shop whose provider notifies it, and can be asked."""
    return make_shop(ledger, shop=hkrt_account())


@pytest.fixture
def unasked(ledger: Ledger, make_shop: MakeShop) -> Shop:
    """A shop whose provider notifies it, and cannot be asked."""
    return make_shop(ledger, shop=hkrt_account(query=False))


class TestWithoutAQuery:
    def test_a_refund_waits_for_its_notification_and_then_for_a_person(self, unasked: Shop) -> None:
        sent(unasked)
        assert cases(unasked) == []
        assert unasked.audit() == []
        unasked.wait(timedelta(days=6))
        sweep(unasked.runtime)
        assert (cases(unasked), unasked.audit()) == ([], [])
        unasked.wait(timedelta(days=1, minutes=1))
        sweep(unasked.runtime)
        assert (cases(unasked), unasked.state()) == (["aged"], State.PENDING)
        assert unasked.audit() == []
        take(unasked, notification(EXECUTED))
        assert unasked.state() is State.SUCCEEDED

    @pytest.mark.parametrize(
        "account", [hkrt_account(query=False, notify_url=None), {"query": False}]
    )
    def test_without_a_notification_either_it_is_a_case_at_once(
        self, ledger: Ledger, make_shop: MakeShop, account: dict[str, Any]
    ) -> None:
        shop = make_shop(ledger, shop=account)
        sent(shop)
        assert cases(shop) == ["unaskable"]

    def test_a_decline_counts_after_the_grace(self, unasked: Shop) -> None:
        sent(unasked)
        unasked.wait(GRACE)
        take(unasked, notification(DECLINED))
        assert (unasked.state(), kinds(unasked)[-1]) == (State.FAILED, "notified")
        assert unasked.value("SELECT status FROM attempts") == "rejected"
        assert unasked.audit() == []

    @pytest.mark.parametrize("verdict", [None, Verdict.PENDING, Verdict.UNKNOWN])
    def test_a_decline_that_came_before_is_believed_when_the_grace_is_over(
        self, unasked: Shop, verdict: Verdict | None
    ) -> None:
        intent = sent(unasked, None)
        take(unasked, notification(DECLINED))
        assert unasked.state() is State.SUBMITTING
        if verdict:
            unasked.settle(intent, verdict)
            take(unasked, notification(DECLINED))
        else:
            unasked.wait(MINUTE)
            sweep(unasked.runtime)  # reaps it
        before = kinds(unasked)
        unasked.clock.now = NOW + GRACE - timedelta(seconds=1)
        sweep(unasked.runtime)
        assert kinds(unasked) == before
        unasked.wait(timedelta(seconds=1))
        sweep(unasked.runtime)
        assert unasked.state() is State.FAILED
        assert unasked.audit() == []

    def test_a_failure_that_is_believed_late_wakes_its_order(self, unasked: Shop) -> None:
        intent = sent(unasked)
        take(unasked, notification(DECLINED))
        unasked.accept(refund_no="R2")
        unasked.wait(GRACE)
        assert intent.order.id in sweep(unasked.runtime).wake

    def test_a_decline_after_success_opens_a_case_and_stops_the_order(self, unasked: Shop) -> None:
        sent(unasked, Verdict.SUCCEEDED)
        for _ in range(2):
            take(unasked, notification(DECLINED))
        assert (unasked.state(), cases(unasked)) == (State.SUCCEEDED, ["contradicted"])
        assert unasked.value("SELECT frozen_at IS NOT NULL FROM orders")


class TestStale:
    """No provider of this module's has a time in what it signs; the flag is set by hand."""

    @pytest.fixture(autouse=True)
    def _stale(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = Hkrt.open_notification
        monkeypatch.setattr(
            Hkrt, "open_notification", lambda *given: replace(whole(*given), stale=True)
        )

    def test_it_is_stored_answered_and_asked_about_but_not_believed(self, shop: Shop) -> None:
        sent(shop)
        assert take(shop, notification(EXECUTED)).answer.body == ACKNOWLEDGED
        assert [row[2:4] for row in stored(shop)] == [("succeeded", True)]
        assert shop.state() is State.PENDING
        assert due_in(shop) == timedelta()

    def test_where_nobody_can_be_asked_it_is_believed_and_marked(self, unasked: Shop) -> None:
        sent(unasked)
        take(unasked, notification(EXECUTED))
        assert unasked.state() is State.SUCCEEDED
        detail = unasked.value("SELECT detail FROM events ORDER BY seq DESC LIMIT 1")
        assert '"stale"' in str(detail).replace("'", '"')


def test_what_came_in_time_stays_so_when_it_is_repeated_later(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(shop)
    body, whole = notification(EXECUTED), Hkrt.open_notification
    take(shop, body)
    monkeypatch.setattr(
        Hkrt, "open_notification", lambda *given: replace(whole(*given), stale=True)
    )
    take(shop, body)
    assert [row[3:] for row in stored(shop)] == [(False, 2)]
