"""The history that the bench loads is one that a worker could have written."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bench.history import fill_up, pattern_of
from tests.databases import migrated
from tests.integration.builders import NOW, Shop, findings, open_shop
from worker.ledger.engine import Ledger
from worker.refund import Verdict

#: Refunds that are copied, and how many there are to be.
WRITTEN, WANTED = 6, 600
#: Rows of a refund whose last event is another one's, or that are of no order.
ASTRAY = """
SELECT r.id FROM refunds r
LEFT JOIN events e ON (e.refund_id, e.seq, e.state) = (r.id, r.event_seq, r.state)
LEFT JOIN orders o ON o.id = r.order_id
WHERE e.refund_id IS NULL OR o.id IS NULL
"""


def url_of(ledger: Ledger) -> str:
    return ledger.engine.url.render_as_string(hide_password=False)


def work(shop: Shop) -> None:
    """Three orders: each has a refund that succeeded, and one that is pending."""
    for number in range(WRITTEN):
        order_no = f"O{number % 3}"
        order_id = shop.accept(order_no=order_no, refund_no=f"R{number}").order_id
        intent = shop.claim(order_id)
        assert intent is not None
        shop.settle(intent, Verdict.SUCCEEDED if number < 3 else Verdict.PENDING)


@pytest.fixture
def old_shop(postgres_url: str, valkey: str) -> Iterator[Shop]:
    with (
        migrated(postgres_url) as ledger,
        open_shop(ledger, valkey, "http://127.0.0.1:9", {}) as one,
    ):
        work(one)
        yield one


def test_what_is_loaded_passes_the_audit_and_every_constraint(old_shop: Shop) -> None:
    url = url_of(old_shop.runtime.ledger)
    assert fill_up(url, pattern_of(url), WANTED) == WANTED
    assert old_shop.rows(ASTRAY) == []
    with old_shop.runtime.ledger.read() as connection:
        assert findings(connection, NOW) == []
    states = old_shop.rows("SELECT state, count(*) AS times FROM refunds GROUP BY state")
    half = WANTED // 2
    assert {row.state: row.times for row in states} == {"succeeded": half, "pending": half}


def test_work_goes_on_behind_what_was_loaded_and_more_is_loaded_behind_it(old_shop: Shop) -> None:
    url = url_of(old_shop.runtime.ledger)
    pattern = pattern_of(url)
    fill_up(url, pattern, WANTED // 2)
    intent = old_shop.claim(old_shop.accept(order_no="NEW", refund_no="NEW").order_id)
    assert intent is not None
    old_shop.settle(intent, Verdict.SUCCEEDED)
    assert fill_up(url, pattern, WANTED) >= WANTED
    assert old_shop.audit() == []


def test_an_order_that_is_to_be_woken_is_no_pattern(old_shop: Shop) -> None:
    old_shop.execute("UPDATE orders SET wake_at = :at", at=NOW + timedelta(days=1))
    with pytest.raises(ValueError, match="3 orders are to be woken"):
        pattern_of(url_of(old_shop.runtime.ledger))
