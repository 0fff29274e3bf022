"""The numbers in paths: percent-encoded, as they came (see :mod:`gateway.edge`)."""

from typing import Annotated, Final
from urllib.parse import quote, unquote

from fastapi import Path
from pydantic import BeforeValidator

from refundry.fields import Number


def _decoded(value: object) -> object:
    return unquote(value, errors="replace") if isinstance(value, str) else value


_DECODED: Final = BeforeValidator(_decoded)

AccountName = Annotated[
    Number, _DECODED, Path(description="An account of accounts.toml.", examples=["shop-hkrt"])
]
RefundNumber = Annotated[
    Number,
    _DECODED,
    Path(description="The merchant's number of the refund.", examples=["RF20260131000001"]),
]
OrderNumber = Annotated[
    Number, _DECODED, Path(description="The merchant's number of the order.", examples=["1000234"])
]


def refund_path(account: str, refund_no: str) -> str:
    """Where a refund is found."""
    return f"/refunds/{quote(account, safe='')}/{quote(refund_no, safe='')}"
