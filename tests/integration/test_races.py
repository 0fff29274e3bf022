"""Everybody at one refund at once, on a database where transactions really run at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import pytest

from refundry import State
from tests.integration.builders import MINUTE, Shop
from tests.integration.conftest import MakeShop
from tests.integration.notifications import EXECUTED, hkrt_account, notification, take
from tests.integration.test_notify_races import at_once, finals, sent
from worker.errors import Refused
from worker.ledger.engine import Ledger
from worker.ledger.orders import lock_order
from worker.refund import Outcome, Verdict
from worker.steps.command import cancel_refund, resubmit_refund
from worker.steps.poll import _claim, apply
from worker.steps.sweep import sweep

ROUNDS = range(8)


@pytest.fixture
def shop(postgres_ledger: Ledger, make_shop: MakeShop) -> Shop:
    return make_shop(postgres_ledger, shop=hkrt_account())


@pytest.fixture
def resubmits(postgres_ledger: Ledger, make_shop: MakeShop) -> Shop:
    """A shop whose provider takes a declined number again."""
    return make_shop(postgres_ledger)


def granted(step: Callable[[], object]) -> bool:
    try:
        step()
    except Refused:
        return False
    return True


@pytest.mark.parametrize("answer", [Verdict.SUCCEEDED, Verdict.PENDING, Verdict.UNKNOWN])
def test_a_claim_the_reaper_a_late_answer_and_a_notification_at_once_end_in_one_success(
    shop: Shop, answer: Verdict
) -> None:
    for number in ROUNDS:
        refund_no, intent = sent(shop, number)
        shop.accept(order_no=f"O{number}", refund_no=f"S{number}")
        shop.wait(2 * MINUTE)
        body = notification(EXECUTED, refund_no=refund_no)
        _, _, _, claimed = at_once(
            partial(sweep, shop.runtime),
            partial(shop.settle, intent, answer),
            partial(take, shop, body),
            partial(shop.claim, intent.order.id),
        )
        assert shop.state(refund_no) is State.SUCCEEDED
        assert finals(shop, refund_no) == 1
        assert claimed is None or claimed.refund.refund_no == f"S{number}"
        shop.execute("UPDATE refunds SET due_at = NULL WHERE state = 'succeeded'")
    assert shop.rows("SELECT * FROM cases") == []
    assert [one for one in shop.audit() if not one.warning] == []


def test_a_never_sent_that_races_with_the_reaper_and_a_claim_leaves_one_live_attempt(
    shop: Shop,
) -> None:
    for number in ROUNDS:
        refund_no, intent = sent(shop, number)
        shop.wait(2 * MINUTE)
        at_once(
            partial(sweep, shop.runtime),
            partial(shop.settle, intent, Verdict.NEVER_SENT),
            *[partial(shop.claim, intent.order.id)] * 3,
        )
        live = shop.value(
            "SELECT count(*) FROM attempts a JOIN refunds r ON r.id = a.refund_id"
            " WHERE r.refund_no = :no AND a.status = 'started'",
            no=refund_no,
        )
        assert live == (shop.state(refund_no) is State.SUBMITTING)
    assert [one for one in shop.audit() if not one.warning] == []


@pytest.mark.parametrize("reply", [Verdict.REJECTED, Verdict.SUCCEEDED, Verdict.PENDING])
def test_a_resubmission_that_races_with_a_reply_counts_as_a_whole_or_not_at_all(
    resubmits: Shop, reply: Verdict
) -> None:
    shop = resubmits
    for number in ROUNDS:
        refund_no, intent = sent(shop, number)
        shop.settle(intent, Verdict.REJECTED)
        shop.wait(70 * MINUTE)
        (claimed,) = _claim(shop.runtime, shop.runtime.lines["shop"], 10)
        again = partial(resubmit_refund, shop.runtime, "shop", refund_no, 1)
        _, done = at_once(
            partial(apply, shop.runtime, claimed, Outcome(verdict=reply)), partial(granted, again)
        )
        contested = shop.value("SELECT count(*) FROM cases WHERE kind = 'contradicted'")
        assert done or contested or reply is Verdict.REJECTED
        assert shop.value(
            "SELECT reserved + refunded FROM orders WHERE order_no = :no", no=f"O{number}"
        ) == (10 if done or contested else 0)
        shop.execute("UPDATE refunds SET due_at = NULL WHERE state <> 'queued'")
    assert [one for one in shop.audit() if not one.warning] == []


def test_what_was_never_sent_is_canceled_or_claimed_again_never_both(shop: Shop) -> None:
    for number in ROUNDS:
        refund_no, intent = sent(shop, number)
        shop.settle(intent, Verdict.NEVER_SENT)
        shop.wait(MINUTE)
        cancel = partial(cancel_refund, shop.runtime, "shop", refund_no)
        claimed, canceled, swept = at_once(
            partial(shop.claim, intent.order.id),
            partial(granted, cancel),
            partial(sweep, shop.runtime),
        )
        assert (claimed is not None) is not canceled
        assert swept.reaped == 0
        assert shop.state(refund_no) is (State.CANCELED if canceled else State.SUBMITTING)
        if claimed is not None:
            shop.settle(claimed, Verdict.REJECTED)
        assert shop.value("SELECT sum(reserved) FROM orders") == 0
    assert [one for one in shop.audit() if not one.warning] == []


def test_a_job_is_not_refused_for_what_an_order_seems_while_somebody_writes_it(
    postgres_ledger: Ledger, make_shop: MakeShop
) -> None:
    """One that is locked is not one that is not there, of which nothing would be refunded."""
    shop = make_shop(postgres_ledger)
    order_id = shop.accept().order_id
    with ThreadPoolExecutor(1) as pool:
        with postgres_ledger.write() as connection:
            lock_order(connection, order_id)
            asked = pool.submit(shop.take, refund_no="R2", expected_refunded=10)
            assert wait([asked], timeout=1).not_done
        assert asked.result(timeout=20) is not None
