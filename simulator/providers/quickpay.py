"""``quickpay``: JSON without a signature, amounts in fen; the page is seed 000."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.book import Record
from simulator.lines import Json
from simulator.providers.base import (
    Fields,
    NoSuchPathError,
    Query,
    RawCall,
    RefusedError,
    Reply,
    Said,
    Submit,
    read_json,
    write_json,
)

#: "不超过10位纯数字": the largest amount, in fen.
MOST_FEN = 9_999_999_999
#: A status that is not on the page, for ``unknown:K``.
OUTSIDE_STATUS = "PROCESSING"
_ITEM_FIELDS: dict[str, type] = {
    "item_id": str,
    "item_no": str,
    "item_name": str,
    "quantity": int,
    "price": int,
    "promotion_type": int,
}


class QuickPay:
    """Synchronous; a failed refund is submitted again under the same number."""

    name = "quickpay"
    prefix = "/qp"
    signs = False
    has_tokens = False

    def read(self, call: RawCall) -> Submit | Query:
        if call.path not in _READERS:
            raise NoSuchPathError
        body = read_json(call, ("application/json", "text/json"))
        try:
            return _READERS[call.path](body)
        except RefusedError as refused:
            number = body.get("refund_no", body.get("refund_order_no"))
            raise refused.about("", number) from None

    def takes_on(self, known: Record | None, others: list[Record]) -> bool:
        return known is None or known.state == "failed"

    def own_names(self, record: Record, number: str) -> tuple[str, ...]:
        return (f"5030{number}",)

    def known(self, reply: Reply) -> Said:
        code = "E90001" if reply.twist == "unknown_code" else "SUCCESS"
        status = "SUSPENDED" if reply.twist == "unknown_status" else _status(reply.record)
        body = {"code": code, "msg": _message(reply), "data": _data(reply, status)}
        return Said(answer=write_json(body), code=code, status=status)

    def not_found(self, merchant: str, twist: str) -> Said:
        code = "E90001" if twist == "unknown_code" else "NOT_FOUND"
        body = {"code": code, "msg": "退款单不存在", "data": None}
        return Said(answer=write_json(body), code=code)

    def notification(self, reply: Reply) -> None:
        """Its page knows none."""

    def refusal(self, refused: RefusedError) -> Said:
        code = "PARAM_ERROR" if refused.reason == "malformed" else refused.reason.upper()
        body = {"code": code, "msg": str(refused), "data": None}
        return Said(answer=write_json(body), code=code)


def _read_submit(body: Json) -> Submit:
    fields = Fields(body)
    # The page does not mark amount as mandatory, but bounds it: an absent one would read as 0.
    total = fields.integer("amount", 1, MOST_FEN)
    _check_items(body.get("itemlist"))
    return Submit(
        merchant="",
        order=fields.text("order_no"),
        refund=fields.text("refund_no"),
        amount=fields.integer("refund_amount", 1, total),
        paid=total,
        memo={
            "store_no": fields.text("store_no", 32),
            "operator": fields.text("operator", 16),
            "refund_desc": fields.optional_text("refund_desc"),
            "total_amount": total,
        },
    )


def _read_query(body: Json) -> Query:
    fields = Fields(body)
    fields.text("store_no", 32)
    return Query(merchant="", name=fields.text("refund_order_no"), order=fields.text("order_no"))


_READERS: dict[str, Callable[[Json], Submit | Query]] = {
    "/QuickPay/Refund": _read_submit,
    "/QuickPay/RefundQuery": _read_query,
}


def _check_items(items: Any) -> None:
    if items is None:
        return
    if not isinstance(items, list):
        raise RefusedError("malformed", "itemlist must be a list")
    for item in items:
        _check_item(item)


def _check_item(item: Any) -> None:
    if not isinstance(item, dict):
        raise RefusedError("malformed", "itemlist must be a list of objects")
    for name, kind in _ITEM_FIELDS.items():
        if item.get(name) is not None and type(item[name]) is not kind:
            raise RefusedError("malformed", f"itemlist: {name} must be of type {kind.__name__}")


def _status(record: Record) -> str:
    """The status on the wire of a record's state."""
    if record.state == "pending":
        return OUTSIDE_STATUS if record.fate.startswith("unknown") else "CREATE"
    return "REFUNDED" if record.state == "succeeded" else "REFUNDFAILED"


def _message(reply: Reply) -> str:
    if reply.whim("quotes") < 0.7:
        return "OK"
    return "退款“已受理”，请稍后查询" if reply.kind == "submit" else "查询“成功”"


def _data(reply: Reply, status: str) -> Json:
    """``RefundResultInfo``, with every field of the page's example."""
    record, memo = reply.record, reply.record.memo
    return {
        "transaction_status": status,
        "error": record.reason,
        "store_no": memo["store_no"],
        "paytype": "WECHATPAY_NATIVE",
        "total_amount": memo["total_amount"],
        "refund_amount": record.amount,
        "settlement_amount": record.amount,
        "cash_amount": record.amount,
        "coupon_amount": 0,
        "order_no": record.order,
        "refund_order_no": record.refund,
        "operator": memo["operator"],
        "transaction_no": f"4200{record.order}",
        "refund_transaction_no": record.provider_refund_no,
        "refund_desc": memo["refund_desc"],
        "refund_transaction_time": "2026-01-05 10:30:00",
        "transaction_message": record.reason or _message(reply),
    }
