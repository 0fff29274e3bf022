"""A refund that marketing bears in part: two caps, of what was paid and of the order's total."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic import command
from sqlalchemy.exc import DBAPIError

from refundry import State
from tests.integration.builders import MINUTE, Shop, insert, raw_event, raw_order, raw_refund, run
from tests.integration.conftest import MakeShop
from tests.providers.harness import OWN_OPTIONS
from tests.simulator.harness import Sim
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.ledger.migrate import _config, upgrade
from worker.refund import Outcome, Verdict
from worker.steps.poll import _claim, apply, poll
from worker.steps.submit import submit

PAID_AT = (datetime.now(UTC) - timedelta(days=1)).isoformat()


def borne(part: int) -> dict[str, Any]:
    return {"extra": {"mktRefundInfo": {"mktMerId": "100000", "mktAmt": part}}}


@pytest.fixture
def market(ledger: Ledger, make_shop: MakeShop) -> Shop:
    """An order of 100 fen of which the customer paid 80."""
    own = {"provider": "baofu", "base_url": "http://127.0.0.1:9", **OWN_OPTIONS["baofu"]}
    shop = make_shop(ledger, shop=own)
    shop.usual |= {"paid_amount": 80, "reason": "returned", "paid_at": PAID_AT}
    return shop


def amounts(shop: Shop) -> tuple[int, ...]:
    columns = "reserved, refunded, marketing_reserved, marketing_refunded, excess"
    (row,) = shop.rows(f"SELECT {columns} FROM orders")
    return tuple(row)


def live(shop: Shop, order_id: int, verdict: Verdict) -> None:
    """Send the next one, and have it asked about until it is final."""
    intent = shop.claim(order_id)
    assert intent is not None
    shop.settle(intent, Verdict.PENDING)
    shop.wait(2 * MINUTE)
    (claimed,) = _claim(shop.runtime, intent.line, 10)
    apply(shop.runtime, claimed, Outcome(verdict=verdict))


def test_both_caps_hold(market: Shop) -> None:
    market.accept(refund_no="R1", amount=50, **borne(10))
    assert amounts(market) == (40, 0, 10, 0, 0)
    assert market.refused(refund_no="R2", amount=41) == "over_refund"  # 40 are left of 80 paid
    assert market.refused(refund_no="R3", amount=51, **borne(20)) == "over_refund"  # 50 of 100
    market.accept(refund_no="R4", amount=50, **borne(10))
    assert amounts(market) == (80, 0, 20, 0, 0)
    assert market.refused(refund_no="R5", amount=1) == "over_refund"
    assert market.audit() == []


def test_both_parts_go_the_refunds_way(market: Shop) -> None:
    order_id = market.accept(refund_no="R1", amount=30, **borne(10)).order_id
    market.accept(refund_no="R2", amount=20, **borne(5))
    live(market, order_id, Verdict.SUCCEEDED)
    assert amounts(market) == (15, 20, 5, 10, 0)
    live(market, order_id, Verdict.REJECTED)
    assert amounts(market) == (0, 20, 0, 10, 0)
    assert market.audit() == []


def test_a_contradiction_reserves_both_parts_again_as_far_as_the_caps_allow(market: Shop) -> None:
    order_id = market.accept(refund_no="R1", amount=50, **borne(10)).order_id
    live(market, order_id, Verdict.REJECTED)
    market.accept(refund_no="R2", amount=60, **borne(15))
    market.wait(timedelta(hours=2))
    (claimed,) = _claim(market.runtime, market.runtime.lines["shop"], 10)
    apply(market.runtime, claimed, Outcome(verdict=Verdict.SUCCEEDED))
    # 45 and 15 are reserved for R2; of R1's 40 and 10 the customer's 35 and then 5 fit.
    assert amounts(market) == (80, 0, 20, 0, 10)
    assert [found for found in market.audit() if not found.warning] == []


def test_the_provider_is_asked_for_both_parts(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    own = {"provider": "baofu", "base_url": f"{sim.url}/bf/api", **OWN_OPTIONS["baofu"]}
    shop = make_shop(ledger, shop=own)
    more = {"order_no": number, "refund_no": number, "paid_at": PAID_AT, "reason": "returned"}
    submit(shop.runtime, shop.accept(amount=30, paid_amount=80, **more, **borne(10)).order_id)
    shop.wait(2 * MINUTE)
    poll(shop.runtime)
    assert shop.state(number) is State.SUCCEEDED
    assert (sim.entry(number)["amount"], sim.entry(number)["executions"]) == (30, 1)
    assert amounts(shop) == (0, 20, 0, 10, 0)


def test_a_ledger_of_the_version_before_is_brought_up_with_all_it_holds(database_url: str) -> None:
    engine = create_ledger_engine(database_url)
    with Ledger(engine).write() as connection:
        command.upgrade(_config(connection), "0001")
        insert(connection, "accounts", name="shop", provider="quickpay", merchant="M")
        raw_refund(connection, 1, raw_order(connection, 1))
        raw_event(connection, 1, 1, "queued")
    upgrade(database_url)
    with Ledger(engine).write() as connection:
        run(connection, "UPDATE orders SET marketing_reserved = 50")
        assert run(connection, "SELECT marketing_amount FROM refunds").scalar_one() == 0
    for forbidden in (
        "UPDATE orders SET marketing_reserved = 51",
        "UPDATE refunds SET state = 'reversed'",
        "DELETE FROM events",
    ):
        with pytest.raises(DBAPIError), Ledger(engine).write() as connection:
            run(connection, forbidden)
    engine.dispose()
