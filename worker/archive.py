"""What the archive's digests say: the rows of a lot are those that were archived. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Values = Mapping[str, Any]


def lot_digest(
    merchant: str,
    refund_no: str,
    before: str,
    events: Iterable[Values],
    attempts: Iterable[Values],
) -> str:
    """SHA-256 of a lot of a refund, which both databases give alike.

    Args:
        merchant: whose refund it is.
        refund_no: its number.
        before: the digest of the refund's lot before this one; empty for the first.
        events: the lot's rows, in their order.
        attempts: the same.
    """
    lot = {
        "refund": [merchant, refund_no],
        "before": before,
        "events": [_of_row(row) for row in events],
        "attempts": [_of_row(row) for row in attempts],
    }
    text = json.dumps(lot, sort_keys=True, ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _of_row(row: Values) -> dict[str, Any]:
    """Without the number that one database gives the refund."""
    return {name: value for name, value in row.items() if name != "refund_id"}


def _plain(value: object) -> str:
    assert isinstance(value, datetime)
    return value.astimezone(UTC).isoformat()
