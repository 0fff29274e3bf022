"""What is sent and answered beside :class:`refundry.RefundRequest`; amounts are integer fen."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from refundry import State


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True)


class Taken(_Answer):
    """A refund is in the ledger; the same request again is answered the same."""

    account: str = Field(examples=["shop-hkrt"])
    order_no: str = Field(examples=["1000234"])
    refund_no: str = Field(examples=["RF20260131000001"])
    #: The same request had been accepted before.
    repeated: bool = Field(description="The same request had been accepted before.")


class AttemptShown(_Answer):
    """One attempt to submit."""

    number: int
    status: str = Field(examples=["succeeded"])
    started_at: datetime
    finished_at: datetime | None
    code: str = Field(description="The provider's code or ours; empty where there is none.")


class OrderShown(_Answer):
    """The order's amounts, in fen."""

    order_no: str
    order_amount: int
    paid_amount: int
    refunded_before: int
    refunded: int
    reserved: int = Field(description="Of refunds that are not final.")
    held: bool = Field(description="Whether refunds of it wait for its release.")


class RefundShown(_Answer):
    """Where a refund stands."""

    account: str
    refund_no: str
    state: State
    amount: int = Field(description="In fen.")
    currency: str = Field(examples=["CNY"])
    provider_refund_no: str | None
    reason: str = Field(description="What the provider, or we, said of this state.")
    case: str | None = Field(description="Why a person has to look; null where none has.")
    accepted_at: datetime
    state_at: datetime = Field(description="Since when it is in this state.")
    order: OrderShown
    attempts: list[AttemptShown]


class Held(_Answer):
    """The order's refunds wait until it is released with this token."""

    account: str
    order_no: str
    token: str = Field(examples=["0f3c9d0e5b7a4c1f8e2d6b9a7c5e3f10"])


class Released(_Answer):
    """The order's refunds go again."""

    account: str
    order_no: str


class Changed(_Answer):
    """What was asked for was done."""

    account: str
    refund_no: str


class Alive(_Answer):
    """The process answers."""

    alive: Literal[True] = True


class Ready(_Answer):
    """How the parts are that the gateway needs."""

    ledger: Literal["ok", "away", "not_migrated"]
    redis: Literal["ok", "away"]
    broker: Literal["ok", "away"] = Field(
        description="Away: refunds are taken all the same, and sent when it is back."
    )


class _Question(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Release(_Question):
    """Which hold to end."""

    token: Annotated[str, Field(min_length=1, max_length=64)]


class Resubmission(_Question):
    """The attempt that failed; it makes the request idempotent."""

    after_attempt: Annotated[int, Field(ge=1, le=1_000_000)]


class RefusalShown(_Answer):
    """Why a request or a job of this refund number was refused."""

    code: str
    reason: str
    times: int
    first_at: datetime
    last_at: datetime


class ProblemShown(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(examples=["urn:refundry:problem:over_refund"])
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["amount: 60 fen are more than the 50 left of 100 paid"])
    code: str = Field(description="Stable, for programs.", examples=["over_refund"])
    problems: list[str] = Field(default=[], description="A sentence for every wrong field.")
    refused: list[RefusalShown] = Field(default=[], description="Of a refund that was refused.")
    parts: Ready | None = Field(default=None, description="Of a gateway that is not ready.")
