"""A failed refund is sent again under its own number when somebody asks, and only then."""

import pytest

from refundry import State
from tests.integration.builders import Shop, race
from tests.integration.conftest import MakeShop
from worker.errors import Refused
from worker.ledger.engine import Ledger
from worker.refund import Verdict
from worker.steps.command import cancel_refund, resubmit_refund


def fail(shop: Shop, **job: object) -> int:
    """A refund that the provider has declined; its order."""
    order_id = shop.accept(**job).order_id
    intent = shop.claim(order_id)
    assert intent is not None
    shop.settle(intent, Verdict.REJECTED)
    return order_id


def test_a_failed_refund_is_sent_again_under_its_number(shop: Shop) -> None:
    order_id = fail(shop)
    assert shop.value("SELECT reserved FROM orders") == 0
    assert resubmit_refund(shop.runtime, "shop", "R1", 1) == order_id
    assert shop.value("SELECT reserved FROM orders") == 10
    again = shop.claim(order_id)
    assert again is not None
    assert (again.refund.refund_no, again.number) == ("R1", 2)
    shop.settle(again, Verdict.SUCCEEDED)
    assert shop.state() == State.SUCCEEDED
    assert shop.audit() == []


def test_repeating_a_job_never_sends_a_failed_refund_again(shop: Shop) -> None:
    order_id = fail(shop)
    assert shop.accept().repeated
    assert shop.state() == State.FAILED
    assert shop.claim(order_id) is None


def test_a_resubmission_counts_once_for_the_attempt_that_failed(
    postgres_ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(postgres_ledger)
    fail(shop)

    def ask(_: int) -> bool:
        try:
            return resubmit_refund(shop.runtime, "shop", "R1", 1) > 0
        except Refused:
            return False

    assert sum(race(ask)) == 1
    assert shop.value("SELECT reserved FROM orders") == 10
    again = shop.claim(shop.value("SELECT id FROM orders"))
    assert again is not None
    shop.settle(again, Verdict.REJECTED)
    with pytest.raises(Refused, match="failed in attempt 1"):
        resubmit_refund(shop.runtime, "shop", "R1", 1)
    assert shop.state() == State.FAILED


def test_a_resubmission_reserves_the_amount_again_or_is_refused(shop: Shop) -> None:
    fail(shop, amount=60)
    shop.accept(refund_no="R2", amount=50)
    with pytest.raises(Refused, match="50 left"):
        resubmit_refund(shop.runtime, "shop", "R1", 1)
    assert shop.state() == State.FAILED
    cancel_refund(shop.runtime, "shop", "R2")
    resubmit_refund(shop.runtime, "shop", "R1", 1)


def test_a_resubmitted_refund_waits_for_the_one_that_holds_its_order(shop: Shop) -> None:
    order_id = fail(shop)
    shop.accept(refund_no="R2")
    second = shop.claim(order_id)
    assert second is not None
    resubmit_refund(shop.runtime, "shop", "R1", 1)
    assert shop.claim(order_id) is None
    shop.settle(second, Verdict.UNKNOWN)
    assert shop.claim(order_id) is None
    shop.settle(second, Verdict.SUCCEEDED)
    again = shop.claim(order_id)
    assert again is not None
    assert again.refund.refund_no == "R1"


@pytest.mark.parametrize("verdict", [Verdict.SUCCEEDED, Verdict.UNKNOWN, Verdict.PENDING])
def test_only_a_failed_refund_is_resubmitted(verdict: Verdict, shop: Shop) -> None:
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    shop.settle(intent, verdict)
    for attempt in (0, 1, 2):
        with pytest.raises(Refused, match="only a refund that failed"):
            resubmit_refund(shop.runtime, "shop", "R1", attempt)


def test_a_failed_refund_with_an_open_case_waits_for_a_person(shop: Shop) -> None:
    order_id = fail(shop)
    late = shop.accept(refund_no="R2")
    assert late.order_id == order_id
    intent = shop.claim(order_id)
    assert intent is not None
    shop.settle(intent, Verdict.REJECTED)
    shop.settle(intent, Verdict.SUCCEEDED)
    with pytest.raises(Refused, match="open case"):
        resubmit_refund(shop.runtime, "shop", "R2", 1)
    assert shop.value("SELECT frozen_at FROM orders") is not None
    assert shop.value("SELECT reserved FROM orders") == 10


def test_a_provider_whose_page_does_not_say_so_takes_no_number_again(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    hkrt = {"provider": "hkrt", "access_id": "a", "access_key": "b"}
    shop = make_shop(ledger, shop=hkrt)
    fail(shop)
    with pytest.raises(Refused, match="request a new refund"):
        resubmit_refund(shop.runtime, "shop", "R1", 1)
