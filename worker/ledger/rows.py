"""The rows that the steps work on, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

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
    held_by: str | None
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
    #: What a contradiction has reserved again; of one that was settled as executed beyond what was
    #: left, what of it is counted as refunded and what exceeds.
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
    cleared_at: datetime | None
    needs_approval: bool
    #: Since when its account asks first: the ledger was restored, and may have lost attempts.
    query_first_since: datetime | None
    #: What decisions read and write.
    standing: Standing

    def is_row_of(self, other: "Refund") -> bool:
        """Whether both are of one row: a ledger that lost commits gives an id once more."""
        return (self.id, self.refund_no, self.accepted_at) == (
            other.id,
            other.refund_no,
            other.accepted_at,
        )

    @property
    def paid_part(self) -> int:
        """What of the amount comes from what the customer paid, in fen."""
        return self.amount - self.marketing_amount

    @property
    def state(self) -> State:
        return self.standing.state

    @property
    def uncleared(self) -> bool:
        """What a restored ledger may have lost of it is not known yet."""
        return is_uncleared(self.query_first_since, self.cleared_at)

    @property
    def may_lack_attempts(self) -> bool:
        """A restored ledger may have lost attempts of it, whether it is cleared or not."""
        return self.uncleared or self.cleared_at is not None


class UsedNumber(NamedTuple):
    """A number that stands for a refund, and what that one's content is told by."""

    id: int
    order_id: int
    refund_no: str
    amount: int
    fingerprint: str
    request: dict[str, Any]


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


class Sendable(NamedTuple):
    """The attempt of a refund that may be sent, as T2 finds it."""

    number: int
    #: An attempt that began at another time is another one: a ledger that lost commits gives its
    #: number, and its refund's id, once more.
    started_at: datetime
    breaker_until: datetime | None


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


def is_uncleared(since: datetime | None, cleared_at: datetime | None) -> bool:
    """Whether a refund of an account that asks first since then is not cleared."""
    return since is not None and (cleared_at is None or cleared_at <= since)


_REFUND_FIELDS = frozenset(field.name for field in fields(Refund)) - {"standing"}


def order_of(values: Mapping[Any, Any]) -> Order:
    """An ``orders`` row as a value."""
    return Order(**values)


def refund_of(values: Mapping[Any, Any]) -> Refund:
    """A ``refunds`` row as a value, with its account's ``query_first_since``."""
    standing = Standing(
        state=State(values["state"]),
        attempt=values["attempt"],
        sent=values["sent"],
        open_sent=values["open_sent"],
        known=values["known"],
        not_found=values["not_found"],
        not_found_since=values["not_found_since"],
        releases=values["releases"],
        contested=values["state"] != State.SUCCEEDED
        and any(values[f"contested_{kind}"] for kind in ("reserved", "excess", "marketing")),
    )
    return Refund(standing=standing, **{name: values[name] for name in _REFUND_FIELDS})


def attempt_of(values: Mapping[Any, Any]) -> AttemptRow:
    """An ``attempts`` row as a value."""
    return AttemptRow(**{**values, "status": Attempt(values["status"])})
