"""Look: what the one who asked for a refund may know of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.ledger import case_reports, reports
from worker.ledger.engine import Ledger
from worker.ledger.refunds import find_refunds_by_number, order_and_refund
from worker.ledger.rows import Order, Refund


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A refund with its order, its attempts and its oldest open case."""

    order: Order
    refund: Refund
    attempts: list[dict[str, Any]]
    case: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why a job of this refund number was refused."""

    code: str
    reason: str
    times: int
    first_at: datetime
    last_at: datetime


def look(ledger: Ledger, account: str, refund_no: str) -> Seen | list[Refusal]:
    """The account's refund of that number, or why it was refused: the latest refusal first.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    with ledger.read() as connection:
        found = find_refunds_by_number(connection, refund_no)
        for refund in found:
            if refund.account == account:
                order, refund = order_and_refund(connection, refund.id)
                cases = case_reports.cases_of(connection, refund.id)
                return Seen(
                    order=order,
                    refund=refund,
                    attempts=reports.attempt_rows(connection, refund.id),
                    case=next((case.kind for case in cases if case.closed_at is None), None),
                )
        refused = reports.refused_of(connection, refund_no)
    names = Refusal.__slots__
    return [
        Refusal(**{name: row[name] for name in names})
        for row in refused
        if row["account"] == account
    ]
