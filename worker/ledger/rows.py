"""The rows that the steps work on, as frozen values."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from refundry import State
from worker.refund import Attempt, Standing


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A paid order: what was paid, what is reserved and what is refunded, in fen."""

    id: int
    merchant: str
    order_no: str
    currency: str
    order_amount: int
    paid_amount: int
    paid_stated: bool
    refunded_before: int
    before_stated: bool
    reserved: int
    refunded: int
    excess: int
    marketing_reserved: int
    marketing_refunded: int
    paid_at: datetime | None
    created_at: datetime
    wake_at: datetime | None
    spaced_until: datetime | None
    frozen_at: datetime | None
    hold_token: str | None
    held_at: datetime | None
    provider_refunded: int | None
    provider_left: int | None
    figures_at: datetime | None

    @property
    def spoken_for(self) -> int:
        """What is refunded or reserved of what was paid, in fen."""
        return self.refunded_before + self.refunded + self.reserved

    @property
    def total_spoken_for(self) -> int:
        """The same of the order's total: with what the merchant's marketing bears."""
        return self.spoken_for + self.marketing_refunded + self.marketing_reserved

    @property
    def stopped(self) -> bool:
        """Frozen by a contradiction, or held by the producer."""
        return self.frozen_at is not None or self.hold_token is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refund:
    """A refund's row."""

    id: int
    order_id: int
    account: str
    merchant: str
    refund_no: str
    amount: int
    event_seq: int
    contested_reserved: int
    contested_excess: int
    marketing_amount: int
    contested_marketing: int
    provider_refund_no: str | None
    reason: str
    fingerprint: str
    request: dict[str, Any]
    announce: dict[str, Any] | None
    accepted_at: datetime
    state_at: datetime
    due_at: datetime | None
    case_at: datetime | None
    asked: int
    asked_at: datetime | None
    last_answer: str | None
    #: What decisions read and write.
    standing: Standing

    @property
    def paid_part(self) -> int:
        """What of the amount comes from what the customer paid, in fen."""
        return self.amount - self.marketing_amount

    @property
    def state(self) -> State:
        return self.standing.state


@dataclass(frozen=True, kw_only=True, slots=True)
class Breaker:
    """An account's breaker, as a worker saw it: open, or on trial, where it has a time."""

    #: Calls in a row without a trustworthy answer.
    failures: int = 0
    #: Nothing is sent until then; afterwards one call is, on trial.
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The refund whose turn it is on its order, and whether its account may send."""

    refund: Refund
    paused: bool
    breaker: Breaker


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRow:
    """One attempt to submit a refund."""

    refund_id: int
    number: int
    status: Attempt
    fingerprint: str
    started_at: datetime
    lease_until: datetime
    finished_at: datetime | None
    code: str
    message: str


_REFUND_FIELDS = frozenset(field.name for field in fields(Refund)) - {"standing"}


def order_of(row: Row[Any]) -> Order:
    """An ``orders`` row as a value."""
    return Order(**row._mapping)


def refund_of(row: Row[Any]) -> Refund:
    """A ``refunds`` row as a value."""
    values = row._mapping
    standing = Standing(
        state=State(values["state"]),
        attempt=values["attempt"],
        sent=values["sent"],
        open_sent=values["open_sent"],
        known=values["known"],
        not_found=values["not_found"],
        not_found_since=values["not_found_since"],
        releases=values["releases"],
        contested=any(values[f"contested_{kind}"] for kind in ("reserved", "excess", "marketing")),
    )
    return Refund(standing=standing, **{name: values[name] for name in _REFUND_FIELDS})


def attempt_of(row: Row[Any]) -> AttemptRow:
    """An ``attempts`` row as a value."""
    values = dict(row._mapping)
    return AttemptRow(**{**values, "status": Attempt(values["status"])})
