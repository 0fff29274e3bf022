"""A provider's bill of its book, as CSV; and how single lines of it are made to differ."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from simulator.book import Book, Record
from simulator.lines import Json

#: The calendar that the days are of; China has no summer time.
SHANGHAI_OFFSET = timedelta(hours=8)
#: How a line may differ from the book: left out, of a refund that the book has not, with another
#: amount, with the opposite state, twice.
KINDS = ("missing", "extra", "amount", "state", "doubled")


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a provider writes its bill; the columns are always the same."""

    encoding: str
    heading: tuple[str, str, str, str, str, str]
    succeeded: str
    failed: str
    in_fen: bool = False
    #: Refunds are below zero.
    negative: bool = False
    preamble: str = ""
    totals: str = "合计"


_CHINESE = ("商户退款单号", "退款流水号", "商户订单号", "退款金额", "退款时间", "退款状态")
FORMATS = {
    "quickpay": Format(
        encoding="utf-8",
        heading=("refund_no", "transaction_no", "order_no", "refund_amount", "time", "status"),
        succeeded="1",
        failed="2",
        in_fen=True,
        totals="#total",
    ),
    "hkrt": Format(encoding="utf-8-sig", heading=_CHINESE, succeeded="退款成功", failed="退款失败"),
    "baofu": Format(
        encoding="gbk",
        heading=_CHINESE,
        succeeded="成功",
        failed="失败",
        negative=True,
        preamble="宝付退款对账单",
    ),
    "guanaitong": Format(encoding="utf-8", heading=_CHINESE, succeeded="成功", failed="失败"),
}


class DifferenceError(ValueError):
    """Raised when a message says not how a statement shall differ."""


def read_difference(message: Json) -> Json:
    """How a line shall differ; ``differ`` is one of KINDS, or ``none``."""
    kind, amount = message.get("differ"), message.get("amount")
    if kind not in (*KINDS, "none"):
        raise DifferenceError(f"differ is {kind!r}; known are {', '.join(KINDS)} and none")
    if kind in ("amount", "extra") and (type(amount) is not int or amount <= 0):
        raise DifferenceError(f"amount is {amount!r}: an integer of fen above 0 is needed")
    if kind == "extra" and not isinstance(message.get("order"), str):
        raise DifferenceError("an extra line needs an order")
    return {"differ": kind, "amount": amount, "order": message.get("order")}


def write_statement(book: Book, provider: str, merchant: str) -> bytes:
    """The bill of what is settled; of one merchant, where one is named."""
    form, differing = FORMATS[provider], book.differing(provider)
    text = io.StringIO()
    writer = csv.writer(text)
    if form.preamble:
        writer.writerow([form.preamble])
    writer.writerow(form.heading)
    paid = 0
    for record in (*_settled(book, provider, merchant), *_extra(provider, differing)):
        how = differing.get(record.refund, {}).get("differ")
        for line in _changed(record, differing.get(record.refund, {})) * (1 + (how == "doubled")):
            writer.writerow(_cells(form, line))
            paid += line.amount if line.state == "succeeded" else 0
    writer.writerow([form.totals, "", "", _amount(form, paid), "", ""])
    return text.getvalue().encode(form.encoding)


def _settled(book: Book, provider: str, merchant: str) -> list[Record]:
    return [
        record
        for record in book.records()
        if record.provider == provider
        and record.state != "pending"
        and merchant in ("", record.merchant)
    ]


def _extra(provider: str, differing: dict[str, Json]) -> list[Record]:
    """What the bill has and the book has not."""
    return [
        Record(
            provider=provider,
            order=how["order"],
            refund=refund,
            amount=how["amount"],
            state="succeeded",
            fate="",
            provider_refund_no=f"X{refund}",
            settled_at=time.time(),
        )
        for refund, how in differing.items()
        if how["differ"] == "extra"
    ]


def _changed(record: Record, how: Json) -> list[Record]:
    fields = {**record.__dict__}
    match how.get("differ"):
        case "missing":
            return []
        case "amount":
            fields["amount"] = how["amount"]
        case "state":
            fields["state"] = "failed" if record.state == "succeeded" else "succeeded"
    return [Record(**fields)]


def _cells(form: Format, record: Record) -> list[str]:
    at = datetime.fromtimestamp(record.settled_at or time.time(), UTC) + SHANGHAI_OFFSET
    return [
        record.refund,
        record.provider_refund_no,
        record.order,
        _amount(form, record.amount),
        at.strftime("%Y-%m-%d %H:%M:%S"),
        form.succeeded if record.state == "succeeded" else form.failed,
    ]


def _amount(form: Format, fen: int) -> str:
    """In the bill's unit."""
    signed = -fen if form.negative else fen
    return str(signed) if form.in_fen else f"{Decimal(signed) / 100:.2f}"
