"""``hkrt``: JSON with an MD5 signature, amounts in yuan texts; the page is seed 001."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from simulator.book import Record
from simulator.lines import Json
from simulator.providers.base import (
    Fields,
    Message,
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

#: ``return_code`` by the reason of a refusal; none of them is on the page, so none is definitive.
REFUSAL_CODES = {
    "malformed": 10001,
    "bad_signature": 10002,
    "unknown_merchant": 10003,
    "content_changed": 10009,
}
_STATUS = {"succeeded": 1, "failed": 2, "pending": 3}
_PATH = re.compile(r"/api/v1/pay/[A-Za-z0-9_]+/(refund|refundquery)")
_YUAN = re.compile(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,2})?", re.ASCII)
_NUMBER = re.compile(r"[0-9A-Za-z]+", re.ASCII)
_ACCEPTED = ("成功", "退款申请“接收成功”", "OK ‘accepted’")


class Hkrt:
    """Replays whatever it knows under a number; answers are signed with the asker's key."""

    name = "hkrt"
    prefix = "/hk"
    signs = True
    has_tokens = False

    def __init__(self, access_keys: Mapping[str, str]) -> None:
        self._access_keys = access_keys

    def read(self, call: RawCall) -> Submit | Query:
        path = _PATH.fullmatch(call.path)
        if path is None:
            raise NoSuchPathError
        body = read_json(call, ("application/json",))
        merchant = self._signer(body)
        try:
            return _READERS[path[1]](merchant, body)
        except RefusedError as refused:
            raise refused.about(merchant, body.get("out_refund_no")) from None

    def takes_on(self, known: Record | None, others: list[Record]) -> bool:
        return known is None

    def own_names(self, record: Record, number: str) -> tuple[str, ...]:
        return (f"WX{number}", _channel_trade_no(record.order))

    def known(self, reply: Reply) -> Said:
        code = 29999 if reply.twist == "unknown_code" else 10000
        status = 7 if reply.twist == "unknown_status" else _STATUS[reply.record.state]
        body = _required(reply, code, status) | _optional(reply)
        return self._said(reply.merchant, body, reply.twist)

    def not_found(self, merchant: str, twist: str) -> Said:
        code = 29999 if twist == "unknown_code" else 10404
        body = {"return_code": code, "return_msg": "退款单“不存在”"}
        return self._said(merchant, body, twist)

    def notification(self, reply: Reply) -> Message:
        key = self._access_keys[reply.merchant]
        body = _notified(reply)
        body["sign"] = signature(body, key + "x" if reply.twist == "forged" else key)
        return Message(
            body=write_json(body).body,
            acknowledgement=b'{"return_code":"SUCCESS"}',
            content_type="application/json;charset=UTF-8",
        )

    def refusal(self, refused: RefusedError) -> Said:
        code = REFUSAL_CODES.get(refused.reason, 10099)
        body = {"return_code": code, "return_msg": str(refused)}
        return self._said(refused.merchant, body, "")

    def _signer(self, body: Json) -> str:
        """The access id of a rightly signed request."""
        access_id = body.get("accessid")
        if not isinstance(access_id, str) or access_id not in self._access_keys:
            raise RefusedError("unknown_merchant", f"accessid {access_id!r} is not known")
        if body.get("sign") != signature(body, self._access_keys[access_id]):
            raise RefusedError("bad_signature", "验签失败", access_id)
        return access_id

    def _said(self, merchant: str, body: Json, twist: str) -> Said:
        if merchant:
            key = self._access_keys[merchant]
            body["sign"] = signature(body, key + "x" if twist == "bad_signature" else key)
        status = str(body.get("refund_status", ""))
        return Said(answer=write_json(body), code=str(body["return_code"]), status=status)


def signature(fields: Json, access_key: str) -> str:
    """MD5 in upper-case hex over the joined fields and the key, per providers.md."""
    return hashlib.md5((_joined(fields) + access_key).encode()).hexdigest().upper()


def _joined(fields: Json) -> str:
    parts = (
        f"{name}={_value(fields[name])}"
        for name in sorted(fields)
        if name != "sign" and fields[name] not in (None, "", [], {})
    )
    return "&".join(parts)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return _joined(value)
    if isinstance(value, list):
        return "&".join(_value(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _read_submit(merchant: str, body: Json) -> Submit:
    fields = Fields(body)
    return Submit(
        merchant=merchant,
        notify_url=fields.optional_text("notify_url"),
        order=fields.text("out_trade_no"),
        refund=_alphanumeric(fields.text("out_refund_no")),
        amount=_fen(fields.text("refund_amount")),
    )


def _read_query(merchant: str, body: Json) -> Query:
    """``refund_no`` wins, then ``out_refund_no``, then ``channel_trade_no``."""
    fields = Fields(body)
    names = [fields.optional_text(n) for n in ("refund_no", "out_refund_no", "channel_trade_no")]
    name = next(filter(None, names), None)
    if name is None:
        raise RefusedError(
            "malformed", "refund_no, out_refund_no or channel_trade_no must be given"
        )
    return Query(merchant=merchant, name=name)


_READERS: dict[str, Callable[[str, Json], Submit | Query]] = {
    "refund": _read_submit,
    "refundquery": _read_query,
}


def _alphanumeric(number: str) -> str:
    """Digits and letters alone, as the page asks of ``out_refund_no``."""
    if not _NUMBER.fullmatch(number):
        raise RefusedError("malformed", "out_refund_no may only have digits and letters")
    return number


def _fen(yuan: str) -> int:
    if not _YUAN.fullmatch(yuan) or not Decimal(yuan):
        raise RefusedError(
            "malformed", "refund_amount must be a positive amount in yuan, e.g. 0.50"
        )
    return int(Decimal(yuan) * 100)


def _yuan(fen: int) -> str:
    return str(Decimal(fen).scaleb(-2).quantize(Decimal("0.01")))


def _channel_trade_no(order: str) -> str:
    """The voucher's number, one an order."""
    return f"01{hashlib.sha256(order.encode()).hexdigest()[:18]}MC".upper()


def _whimsical(value: int, whim: float) -> int | str:
    """The page says text, its example shows a number: both occur."""
    return value if whim < 0.5 else str(value)


def _required(reply: Reply, code: int, status: int) -> Json:
    """Every field of the page's example."""
    record = reply.record
    sign = "-" if reply.whim("negative") < 0.5 else ""
    return {
        "return_code": _whimsical(code, reply.whim("code")),
        "refund_status": _whimsical(status, reply.whim("status")),
        "refund_no": record.provider_refund_no,
        "out_refund_no": record.refund,
        "channel_trade_no": _channel_trade_no(record.order),
        "refund_amount": sign + _yuan(record.amount),
        "total_amount": _yuan(reply.paid),
        "refunded_amount": _yuan(reply.moved),
        "remanent_amount": _yuan(reply.paid - reply.moved),
    }


def _notified(reply: Reply) -> Json:
    """Success, failure or in progress is called ``trade_status`` here."""
    body = _required(reply, 10000, _STATUS[reply.record.state]) | _optional(reply)
    status = body.pop("refund_status")
    for name in ("return_code", "return_msg"):
        del body[name]
    return body | {"out_trade_no": reply.record.order, "trade_status": status}


def _optional(reply: Reply) -> Json:
    """Fields the page lists and its example leaves out."""
    body: Json = {"return_msg": _ACCEPTED[int(reply.whim("message") * len(_ACCEPTED))]}
    if reply.record.state == "failed":
        body |= {"error_code": "REFUND_REFUSED", "error_msg": f"退款“失败”：{reply.record.reason}"}
    if reply.whim("fee") < 0.5:
        body |= {"rate": "0.38", "fee": "0.00", "fee_subsidy_party": ""}
    if reply.whim("attach") < 0.3:
        body["attach"] = dict(_attach(reply.record, reply.whim("detail") < 0.5))
    return body


def _attach(record: Record, with_detail: bool) -> Iterator[tuple[str, Any]]:
    """WeChat's own parameters; amounts are fen."""
    yield "result_code", "FAIL" if record.state == "failed" else "SUCCESS"
    yield "sub_mch_id", "1900000109"
    yield "nonce_str", record.provider_refund_no[-16:]
    yield "sign", "00112233445566778899AABBCCDDEEFF"
    yield "out_refund_no", record.refund
    yield "refund_id", f"5000{record.provider_refund_no[2:]}"
    yield "refund_fee", str(record.amount)
    yield "refund_fee_type", "CNY"
    yield "cash_refund_fee", str(record.amount)
    if with_detail:
        yield "refund_detail", [{"promotion_id": "109519", "scope": "SINGLE", "amount": 5}]
