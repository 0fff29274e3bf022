"""A refund above the account's ``approval_above`` is sent once a second person has approved it."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from refundry import TASK_REQUEST, State
from tests.integration.builders import MINUTE, Shop, findings
from tests.integration.conftest import MakeShop
from tests.integration.test_audit import unguarded
from tests.integration.test_settlements import WANG, breaches, by_two
from worker.errors import Refused
from worker.ledger.engine import Ledger
from worker.refund import Verdict
from worker.steps.cases import close
from worker.steps.command import cancel_refund
from worker.steps.intake import take_job
from worker.steps.people import person
from worker.steps.settlements import approve
from worker.steps.sweep import sweep


@pytest.fixture
def shop(ledger: Ledger, make_shop: MakeShop) -> Shop:
    return make_shop(ledger, shop={"approval_above": 20})


def test_a_large_refund_waits_for_another_person_than_who_asked_for_it(shop: Shop) -> None:
    order_id = shop.accept(amount=21, operator="li").order_id
    shop.accept(refund_no="R2")
    assert shop.claim(order_id) is None
    case = shop.rows("SELECT id, kind, subject FROM cases")
    assert [tuple(row) for row in case] == [(1, "approval", "R1")]
    for again in ("li", " LI"):
        with pytest.raises(Refused, match="li has asked for it"):
            approve(shop.runtime, 1, person(again, "it is mine"))
    shop.wait(10 * MINUTE)
    sweep(shop.runtime)
    assert (shop.claim(order_id), breaches(shop)) == (None, [])
    approve(shop.runtime, 1, WANG)
    assert sweep(shop.runtime).wake == [order_id]
    intent = shop.claim(order_id)
    assert intent is not None
    assert intent.refund.refund_no == "R1"
    shop.settle(intent, Verdict.SUCCEEDED)
    assert (shop.state(), breaches(shop)) == (State.SUCCEEDED, [])
    kinds = [row.kind for row in shop.rows("SELECT kind FROM events WHERE refund_id = 1")]
    assert kinds == ["accepted", "approved", "submitting", "succeeded"]
    with pytest.raises(Refused, match="was closed at"):
        approve(shop.runtime, 1, WANG)


def test_what_is_not_above_the_amount_waits_for_nobody(shop: Shop) -> None:
    assert shop.claim(shop.accept(amount=20).order_id) is not None
    assert shop.rows("SELECT 1 FROM cases") == []


def test_a_large_refund_is_not_sent_by_who_takes_it_in(shop: Shop) -> None:
    for amount, sends in ((20, True), (21, False)):
        job = shop.job(refund_no=f"R{amount}", order_no=f"O{amount}", amount=amount)
        accepted = take_job(shop.runtime, TASK_REQUEST, job, at_once=True)
        assert accepted is not None
        assert (accepted.intent is not None) is sends


def test_a_large_refund_is_canceled_instead_of_approved(shop: Shop) -> None:
    order_id = shop.accept(amount=21).order_id
    shop.accept(refund_no="R2")
    with pytest.raises(Refused, match="its refund is queued"):
        close(shop.runtime, 1, WANG)
    with pytest.raises(Refused, match="cancel it"):
        by_two(shop, 1, State.SUCCEEDED)
    cancel_refund(shop.runtime, "shop", "R1")
    with pytest.raises(Refused, match="nothing to approve"):
        approve(shop.runtime, 1, WANG)
    close(shop.runtime, 1, WANG)
    intent = shop.claim(order_id)
    assert intent is not None
    assert intent.refund.refund_no == "R2"
    assert breaches(shop) == []


SENT = (
    "state = 'submitting', attempt = 1, sent = 1, open_sent = 1, holds_order = TRUE",
    "needs_approval = FALSE",
)


@pytest.mark.parametrize("change", SENT)
def test_no_sql_sends_a_large_refund_without_the_approval(change: str, shop: Shop) -> None:
    shop.accept(amount=21)
    with pytest.raises(DBAPIError, match="second person"):
        shop.execute(f"UPDATE refunds SET {change}")


def test_the_audit_names_a_large_refund_that_was_sent_without_an_approval(shop: Shop) -> None:
    order_id = shop.accept(amount=21).order_id
    approve(shop.runtime, 1, WANG)
    assert shop.claim(order_id) is not None
    assert breaches(shop) == []
    with unguarded(shop) as connection:
        connection.execute(text("DELETE FROM approvals"))
        found = findings(connection, shop.clock.now)
    assert [one.promise for one in found if "large" in one.said] == ["I6"]
