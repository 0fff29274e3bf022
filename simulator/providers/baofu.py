"""``baofu``: a signed form envelope, asynchronous, fen; seed 002, and providers.md for the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from simulator.book import Record
from simulator.lines import Json
from simulator.providers.baofu_envelope import (
    SHANGHAI,
    Merchant,
    answer_to,
    check_envelope,
    message_to,
    read_content,
    read_form,
    read_time,
    verifies,
)
from simulator.providers.base import (
    Fields,
    Message,
    NoSuchPathError,
    OrderFigures,
    OrderQuestion,
    Query,
    RawCall,
    RefusedError,
    Reply,
    Said,
    Submit,
)

MOST_FEN = 10**10
#: ``errCode`` by the reason of a refusal, as the page's list spells it.
REFUSAL_CODES = {
    "malformed": "INVALID_PARAMETER",
    "bad_signature": "VERIFY_ERROR",
    "unknown_merchant": "MERCHANT_NOT_EXIST",
    "wrong_terminal": "MERID_TERID_NOT_MATCH",
    "too_old": "ORDER_NOT_SUPPORT_REFUNDS",
    "concurrent": "NOT_SUPPORT_CONCURRENT",
    "content_changed": "ORDER_EXIST",
}
_STATES = {"succeeded": "SUCCESS", "failed": "REFUND_ERROR", "pending": "REFUND"}
#: The fields of a request that its answers repeat.
_ECHOED = ("outTradeNo", "originTradeNo", "originOutTradeNo", "refundAmt", "totalAmt")


class EchoedError(RefusedError):
    """Raised when a rightly signed request is refused; the answer repeats what it named."""

    def __init__(self, refused: RefusedError, merchant: str, content: Json) -> None:
        number = content.get("outTradeNo")
        refund = number if isinstance(number, str) else ""
        super().__init__(refused.reason, refused.detail, merchant, refund)
        self.echo = {name: content[name] for name in _ECHOED if name in content}


class Baofu:
    """Idempotent by refund number; one refund of an order at a time; the query alone is final."""

    name = "baofu"
    prefix = "/bf"
    signs = True
    has_tokens = False

    def __init__(self, merchants: Mapping[str, Merchant]) -> None:
        self._merchants = merchants

    def read(self, call: RawCall) -> Submit | Query | OrderQuestion:
        if call.path != "/api":
            raise NoSuchPathError
        form = read_form(call)
        mer_id = self._signer(form)
        content = read_content(form["bizContent"])
        try:
            check_envelope(form, content)
            return _reader(form.get("method", ""))(mer_id, content)
        except RefusedError as refused:
            raise EchoedError(refused, mer_id, content) from None

    def takes_on(self, known: Record | None, others: list[Record]) -> bool:
        if known is None and any(other.state == "pending" for other in others):
            raise RefusedError("concurrent", "该订单有退款正在处理中")
        return known is None

    def own_names(self, record: Record, number: str) -> tuple[str, ...]:
        return (f"BF{number}",)

    def known(self, reply: Reply) -> Said:
        state = "REFUND" if reply.kind == "submit" else _state(reply.record)
        if reply.twist == "unknown_status":
            state = "SUSPENDED"
        content = _submitted(reply) if reply.kind == "submit" else _queried(reply, state)
        content |= {"resultCode": "SUCCESS", "refundState": state}
        if reply.twist == "unknown_code":
            content |= {"resultCode": "FAIL", "errCode": "E90001", "errMsg": "系统异常"}
            del content["refundState"]
        return self._said(reply.merchant, content, reply.twist)

    def not_found(self, merchant: str, twist: str) -> Said:
        code = "E90001" if twist == "unknown_code" else "ORDER_NOT_EXIST"
        content = {
            "resultCode": "FAIL",
            "refundState": "ABNORMAL",
            "errCode": code,
            "errMsg": "订单不存在",
        }
        return self._said(merchant, content, twist)

    def balance(self, question: OrderQuestion, figures: OrderFigures | None, twist: str) -> Said:
        if figures is None or twist == "unknown_code":
            return self.not_found(question.merchant, twist)
        order = f"{question.order}X" if twist == "wrong_number" else question.order
        left = figures.paid - figures.moved - figures.pending
        content: Json = {
            "merId": question.merchant,
            "originOutTradeNo": order,
            "resultCode": "SUCCESS",
            "orderTotalAmt": figures.paid,
            "shareBalanceAmt": left,
            "refundSuccessAmt": figures.moved,
            "refundProcessingAmt": -1 if twist == "wrong_amount" else figures.pending,
        }
        return self._said(question.merchant, content, twist)

    def notification(self, reply: Reply) -> Message:
        merchant = self._merchants[reply.merchant]
        content = _queried(reply, _state(reply.record)) | {"terId": merchant.ter_id}
        content["refundState"] = _state(reply.record)
        return message_to(merchant, content, reply)

    def refusal(self, refused: RefusedError) -> Said:
        code = REFUSAL_CODES.get(refused.reason, "SYSTEM_BUSY")
        content: Json = {"resultCode": "FAIL", "errCode": code, "errMsg": str(refused)}
        if refused.refund:
            content["outTradeNo"] = refused.refund
        if isinstance(refused, EchoedError):
            content |= refused.echo
        return self._said(refused.merchant, content, "")

    def _signer(self, form: Mapping[str, str]) -> str:
        """The number of a merchant that has rightly signed the request."""
        mer_id = form.get("merId", "")
        merchant = self._merchants.get(mer_id)
        if merchant is None:
            raise RefusedError("unknown_merchant", f"merId {mer_id!r} is not known")
        if form.get("terId") != merchant.ter_id:
            raise RefusedError("wrong_terminal", "终端号与商户号不匹配", mer_id)
        if not verifies(merchant.public_key, form.get("bizContent", ""), form.get("signStr", "")):
            raise RefusedError("bad_signature", "验签失败", mer_id)
        return mer_id

    def _said(self, mer_id: str, content: Json, twist: str) -> Said:
        answer = answer_to(self._merchants.get(mer_id), content, twist)
        code = str(content.get("errCode", content["resultCode"]))
        return Said(answer=answer, code=code, status=str(content.get("refundState", "")))


def _read_submit(mer_id: str, content: Json) -> Submit:
    fields = Fields(content)
    _check_texts(fields)
    amount = fields.integer("refundAmt", 1, MOST_FEN)
    total = fields.integer("totalAmt", 1, MOST_FEN)
    if total != amount + _marketing(content.get("mktRefundInfo")):
        raise RefusedError("malformed", "totalAmt must be refundAmt and mktAmt together")
    _check_shares(content.get("sharingRefundInfo"))
    if content.get("advanceAmt") is not None:
        fields.integer("advanceAmt", 1, MOST_FEN)
    _check_age(read_time("txnTime", fields.text("txnTime", 14)))
    number = fields.optional_text("originTradeNo", 32)
    own = fields.optional_text("originOutTradeNo", 32)
    if not (number or own):
        raise RefusedError("malformed", "originTradeNo or originOutTradeNo must be given")
    return Submit(
        merchant=mer_id,
        notify_url=fields.optional_text("notifyUrl", 128),
        order=own or number,
        refund=fields.text("outTradeNo", 32),
        amount=total,
        memo={"mktAmt": total - amount, "originTradeNo": number, "originOutTradeNo": own},
    )


def _read_query(mer_id: str, content: Json) -> Query:
    """``tradeNo`` wins."""
    fields = Fields(content)
    name = fields.optional_text("tradeNo", 32) or fields.optional_text("outTradeNo", 50)
    if not name:
        raise RefusedError("malformed", "tradeNo or outTradeNo must be given")
    return Query(merchant=mer_id, name=name)


def _read_order_question(mer_id: str, content: Json) -> OrderQuestion:
    fields = Fields(content)
    own = fields.optional_text("originOutTradeNo", 32)
    order = own or fields.optional_text("originTradeNo", 32)
    if not order:
        raise RefusedError("malformed", "originTradeNo or originOutTradeNo must be given")
    return OrderQuestion(merchant=mer_id, order=order)


def _reader(method: str) -> Callable[[str, Json], Submit | Query | OrderQuestion]:
    readers: dict[str, Callable[[str, Json], Submit | Query | OrderQuestion]] = {
        "order_refund": _read_submit,
        "refund_query": _read_query,
        "order_balance_query": _read_order_question,
    }
    if method not in readers:
        raise RefusedError("malformed", f"method {method!r} is not known")
    return readers[method]


def _check_texts(fields: Fields) -> None:
    for name in ("merId", "terId"):
        fields.text(name, 16)
    for name in ("agentMerId", "agentTerId"):
        fields.optional_text(name, 16)
    for name in ("merchantName", "notifyUrl", "attach", "reqReserved"):
        fields.optional_text(name, 128)
    fields.text("refundReason", 128)


def _marketing(info: Any) -> int:
    if info is None:
        return 0
    fields = Fields(_object("mktRefundInfo", info))
    fields.text("mktMerId", 16)
    return fields.integer("mktAmt", 1, MOST_FEN)


def _check_shares(shares: Any) -> None:
    if shares is None:
        return
    if not isinstance(shares, list):
        raise RefusedError("malformed", "sharingRefundInfo must be a list")
    for share in shares:
        fields = Fields(_object("sharingRefundInfo", share))
        fields.text("sharingMerId", 16)
        fields.integer("sharingAmt", 1, MOST_FEN)


def _object(name: str, value: Any) -> Json:
    if not isinstance(value, dict):
        raise RefusedError("malformed", f"{name} must hold objects")
    return value


def _check_age(paid_at: datetime) -> None:
    today = datetime.now(SHANGHAI)
    if (paid_at.year + 1, *paid_at.timetuple()[1:6]) < today.timetuple()[:6]:
        raise RefusedError("too_old", "交易时间超过一年的订单无法发起退款")


def _state(record: Record) -> str:
    """``unknown:K`` is what the page calls abnormal."""
    if record.state == "pending" and record.fate.startswith("unknown"):
        return "ABNORMAL"
    return _STATES[record.state]


def _submitted(reply: Reply) -> Json:
    record, memo = reply.record, reply.record.memo
    origin = {name: memo[name] for name in ("originTradeNo", "originOutTradeNo") if memo[name]}
    return origin | {
        "outTradeNo": record.refund,
        "tradeNo": record.provider_refund_no,
        "refundAmt": record.amount - memo["mktAmt"],
        "totalAmt": record.amount,
    }


def _queried(reply: Reply, state: str) -> Json:
    """What succeeded is ``succAmt``; a spoilt amount shows in every state."""
    record = reply.record
    shown = state == "SUCCESS" or reply.twist == "wrong_amount"
    content: Json = {
        "merId": reply.merchant,
        "tradeNo": record.provider_refund_no,
        "outTradeNo": record.refund,
        "succAmt": record.amount - record.memo["mktAmt"] if shown else 0,
    }
    if state == "SUCCESS":
        content["finishTime"] = "20260105103000"
    if state == "REFUND_ERROR":
        content |= {"errCode": "REFUND_FAILED", "errMsg": record.reason}
    return content
