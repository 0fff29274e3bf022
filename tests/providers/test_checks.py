"""What every provider refuses of a request before anything is sent, a sentence each."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from refundry import RefundRequest
from tests.providers.harness import FILES, account
from tests.simulator.harness import APPID
from worker.providers.base import load_provider


def problems(name: str, **changed: Any) -> list[str]:
    """What is wrong with a request that every provider would take without the change."""
    job = {
        "account": "main",
        "order_no": f"{APPID}1",
        "refund_no": f"{APPID}2",
        "amount": 10,
        "order_amount": 100,
        "reason": "七天无理由",
        "paid_at": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
    }
    return load_provider(account(name)).check(RefundRequest.read(job | changed))


@pytest.mark.parametrize("name", FILES)
def test_a_request_that_every_page_allows_is_taken(name: str) -> None:
    assert problems(name) == []


@pytest.mark.parametrize("name", FILES)
def test_another_currency_is_refused(name: str) -> None:
    assert problems(name, currency="USD") == [f"currency: {name} settles in CNY, not USD"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("field", ["extra", "items"])
def test_a_field_that_no_page_has_is_refused(name: str, field: str) -> None:
    unknown = {"nonsense": "1"}
    (problem,) = problems(name, **{field: unknown if field == "extra" else [unknown]})
    assert problem.startswith(field)


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("quickpay", {"operator": "张" * 17}, "operator"),
        ("quickpay", {"extra": {"store_no": "S" * 33}}, "extra.store_no"),
        ("quickpay", {"items": [{"item_no": "1"}, {"quantity": 0}]}, "items.1.quantity"),
        ("quickpay", {"items": [{"price": "1"}]}, "items.0.price"),
        ("hkrt", {"refund_no": "R-1"}, "refund_no"),
        ("hkrt", {"refund_no": "R_1"}, "refund_no"),
    ],
)
def test_what_a_page_bounds_is_refused(name: str, change: dict[str, Any], field: str) -> None:
    (problem,) = problems(name, **change)
    assert problem.startswith(f"{field}: ")
