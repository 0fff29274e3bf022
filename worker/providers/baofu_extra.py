"""What a request to ``baofu`` may carry in ``extra``, in the page's names (seed 002)."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from refundry import RefundRequest
from worker.providers.base import model_problems

#: The page's longest text.
NOTE_LENGTH: Final = 128

Merchant = Annotated[str, Field(min_length=1, max_length=16)]
Note = Annotated[str, Field(min_length=1, max_length=NOTE_LENGTH)]
Fen = Annotated[int, Field(ge=1)]


class _Share(BaseModel):
    """One line of sharingRefundInfo."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sharingMerId: Merchant
    sharingAmt: Fen


class _Market(BaseModel):
    """mktRefundInfo: what of the amount the merchant's marketing bears."""

    model_config = ConfigDict(extra="forbid", strict=True)

    mktMerId: Merchant
    mktAmt: Fen


class Extra(BaseModel):
    """What a request may carry beside the common fields, in the page's names.

    The page's formula also counts what is not shared yet, which only Baofu knows, so nothing is
    refused because the shares do not add up.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    #: Baofu's number of the payment; without it the order's number names it.
    originTradeNo: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    merchantName: Note | None = None
    attach: Note | None = None
    reqReserved: Note | None = None
    sharingRefundInfo: Annotated[list[_Share], Field(min_length=1)] | None = None
    mktRefundInfo: _Market | None = None
    advanceAmt: Fen | None = None


def extra_problems(request: RefundRequest) -> list[str]:
    """What the page would refuse of a request's extra, a sentence each."""
    problems = model_problems("extra", Extra, request.extra)
    if not problems and market_amount(request) >= request.amount:
        return [
            f"extra.mktRefundInfo.mktAmt: must be less than amount, {request.amount} fen, which "
            "is baofu's totalAmt: the customer's part and the marketing's together"
        ]
    return problems


def market_amount(request: RefundRequest) -> int:
    """What of a checked request's amount is marketing, in fen."""
    market = Extra.model_validate(request.extra).mktRefundInfo
    return market.mktAmt if market else 0


def extra_doubts(request: RefundRequest) -> list[str]:
    """The page's formula, as far as it can be known here: shares and advance within the total.

    The rest of the total is what was not shared yet, which only Baofu knows.
    """
    extra = Extra.model_validate(request.extra)
    known = sum(share.sharingAmt for share in extra.sharingRefundInfo or [])
    known += extra.advanceAmt or 0
    if known > request.amount:
        return [f"extra: shares and advance are {known} fen, more than the {request.amount}"]
    return []
