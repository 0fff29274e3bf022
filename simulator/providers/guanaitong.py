"""``guanaitong``: JSON with a token and a SHA-1 signature; seed 003, and providers.md for the rest.

A number is executed once and refused ever after: nothing is replayed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil
from typing import Any
from urllib.parse import parse_qsl, urlencode

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

#: ``code`` by the reason of a refusal. The page has the first; two are providers.md's; the others
#: are the simulator's own, so that nobody can know them by heart.
REFUSAL_CODES = {
    "timestamp": 1000210001,
    "unknown_merchant": 1000210003,
    "bad_signature": 1000210003,
    "token": 1000210004,
    "malformed": 1000210002,
    "too_many_tokens": 1000210005,
    "exists": 1000210777,
    "content_changed": 1000210777,
}
#: What a query answers about a number that nobody has used, and submissions that moved no money.
NOT_FOUND, DECLINED, UNDER_WAY, UNLISTED = 1000210404, 1000210900, 1000210901, 1000219999
EXISTS_WORDS = "退款号已存在"
#: Seconds that a timestamp may be off.
WINDOW_S = 300
_STATUS = {"succeeded": 1, "failed": 2, "pending": 0}
_YUAN = re.compile(r"(0|[1-9][0-9]{0,7})(\.[0-9]{1,2})?", re.ASCII)
_SNAKE = re.compile(r"_([a-z])", re.ASCII)


@dataclass(kw_only=True)
class App:
    """One application, and the tokens it was given: they say themselves until when they are good.

    So a simulator that is started anew knows those of the one before, as a provider does.
    """

    appid: str
    secret: str
    #: How long a token lives, and how many are made an hour.
    token_life_s: int = 3600
    tokens_an_hour: int = 60
    made_at: deque[float] = field(default_factory=deque)

    def make_token(self) -> str:
        now = time.monotonic()
        while self.made_at and self.made_at[0] <= now - 3600:
            self.made_at.popleft()
        if len(self.made_at) >= self.tokens_an_hour:
            raise RefusedError("too_many_tokens", "access_token获取次数超过限制")
        self.made_at.append(now)
        says = f"{ceil(time.time()) + self.token_life_s:08x}{secrets.token_hex(4)}"
        return says + self._seal(says)

    def knows(self, token: str) -> bool:
        says, seal = token[:16], token[16:]
        return seal == self._seal(says) and int(says[:8], 16) > time.time()

    def _seal(self, says: str) -> str:
        named = f"{self.appid} {says}".encode()
        return hmac.digest(self.secret.encode(), named, "sha256").hex()[:16]


class Guanaitong:
    """Executes a new number at once; knows applications by a signature, and calls by a token."""

    name = "guanaitong"
    prefix = "/gat"
    signs = False
    has_tokens = True

    def __init__(self, apps: Mapping[str, App]) -> None:
        self._apps = apps

    def read(self, call: RawCall) -> Submit | Query | Said:
        if call.path == "/token/create":
            return self._create(call)
        reader = _READERS.get(call.path)
        if reader is None:
            raise NoSuchPathError
        query = _pairs(call.query)
        appid = self._signer({**query, "_body": call.body.decode(errors="replace")})
        if not self._apps[appid].knows(query.get("access_token", "")):
            raise RefusedError("token", "access_token check failed!", appid)
        body = _in_camel_case(read_json(call, ("application/json",)))
        try:
            return reader(appid, body)
        except RefusedError as refused:
            raise refused.about(appid, body.get("outerRefundNo")) from None

    def takes_on(self, known: Record | None, others: list[Record]) -> bool:
        if known is not None:
            raise RefusedError("exists", EXISTS_WORDS)
        return True

    def own_names(self, record: Record, number: str) -> tuple[str, ...]:
        return (number[:16],)

    def known(self, reply: Reply) -> Said:
        if reply.twist == "unknown_code":
            return _said(UNLISTED, "系统异常")
        if reply.twist == "unknown_status":
            return _said(0, "OK")
        return _submitted(reply) if reply.kind == "submit" else _queried(reply)

    def not_found(self, merchant: str, twist: str) -> Said:
        return _said(UNLISTED if twist == "unknown_code" else NOT_FOUND, "退款单不存在")

    def notification(self, reply: Reply) -> Message | None:
        """On success alone: silence proves nothing."""
        if reply.record.state != "succeeded":
            return None
        secret = self._apps[reply.merchant].secret
        fields = _notified(reply)
        fields["sign"] = signature(fields, secret + "x" if reply.twist == "forged" else secret)
        return Message(body=urlencode(fields).encode(), acknowledgement=b"success")

    def refusal(self, refused: RefusedError) -> Said:
        code = REFUSAL_CODES.get(refused.reason, UNLISTED)
        return _said(code, EXISTS_WORDS if code == REFUSAL_CODES["exists"] else str(refused))

    def _create(self, call: RawCall) -> Said:
        """A new token for whoever signs rightly; the ones before it live on."""
        form = _pairs(call.body.decode(errors="replace"))
        app = self._apps[self._signer(form)]
        return _said(0, "OK", {"access_token": app.make_token(), "expires_in": app.token_life_s})

    def _signer(self, fields: Mapping[str, str]) -> str:
        """The appid of a call that is rightly signed, and not of another time."""
        appid = fields.get("appid", "")
        if appid not in self._apps:
            raise RefusedError("unknown_merchant", f"appid {appid!r} is not known")
        if fields.get("grant_type") != "client_credential":
            raise RefusedError("malformed", "grant_type must be client_credential", appid)
        if fields.get("sign") != signature(fields, self._apps[appid].secret):
            raise RefusedError("bad_signature", "sign check failed!", appid)
        stamp = fields.get("timestamp", "")
        if not stamp.isdecimal() or abs(int(stamp) - time.time()) > WINDOW_S:
            raise RefusedError("timestamp", "timestamp check failed!", appid)
        return appid


def signature(fields: Mapping[str, str], secret: str) -> str:
    """SHA-1 in lower-case hex over everything but the signature, and the secret, by name."""
    pairs = {**fields, "appsecret": secret}
    pairs.pop("sign", None)
    return hashlib.sha1("&".join(f"{n}={v}" for n, v in sorted(pairs.items())).encode()).hexdigest()


def _pairs(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        raise RefusedError("malformed", "a parameter is given twice")
    return dict(pairs)


def _in_camel_case(body: Json) -> Json:
    """The page spells its table so, and its example the other way; both are read."""
    return {_SNAKE.sub(lambda end: end[1].upper(), name): value for name, value in body.items()}


def _read_submit(appid: str, body: Json) -> Submit:
    fields = Fields(body)
    fields.text("reason", 254)
    if body.get("costAmount") is not None:
        _fen("costAmount", body["costAmount"])
    _check_trade(body.get("tradeInfo"))
    amount = _fen("refundAmount", body.get("refundAmount"))
    if not amount:
        raise RefusedError("malformed", "refundAmount must be 0.01 or more")
    return Submit(
        merchant=appid,
        order=_number(fields, "outerTradeNo", appid),
        refund=_number(fields, "outerRefundNo", appid),
        amount=amount,
        notify_url=fields.optional_text("notifyUrl", 254),
    )


def _read_query(appid: str, body: Json) -> Query:
    return Query(merchant=appid, name=Fields(body).text("refundOuterTradeNo", 50))


_READERS: dict[str, Callable[[str, Json], Submit | Query]] = {
    "/seller/v3/pay/syncRefund": _read_submit,
    "/seller/v3/pay/getRefundResult": _read_query,
}


def _number(fields: Fields, name: str, appid: str) -> str:
    number = fields.text(name, 50)
    if len(number) < 2 or not number.startswith(appid):
        raise RefusedError("malformed", f"{name} must begin with the appid")
    return number


def _fen(name: str, value: Any) -> int:
    """Fen of a decimal, which comes as text or as a number."""
    text = str(value) if isinstance(value, str | int | Decimal) else ""
    if not _YUAN.fullmatch(text):
        raise RefusedError("malformed", f"{name} must be a decimal, at most 99999999.99")
    return int(Decimal(text) * 100)


def _yuan(fen: int, whim: float) -> str:
    """With two places, or with as few as there are."""
    yuan = Decimal(fen).scaleb(-2)
    return str(yuan.quantize(Decimal("0.01"))) if whim < 0.5 else f"{yuan.normalize():f}"


def _check_trade(trade: Any) -> None:
    if trade is None:
        return
    parts = {1: ("thirdOrders", "third_orders"), 2: ("goodsDetail", "goods_detail")}
    has = isinstance(trade, dict) and (trade.get("isThirdOrders") or trade.get("is_third_orders"))
    if has not in parts or not any(isinstance(trade.get(n), list) for n in parts[has]):
        raise RefusedError("malformed", "tradeInfo must have its thirdOrders or its goodsDetail")


def _said(code: int, words: str, data: Any = None, status: str = "") -> Said:
    answer = write_json({"code": code, "msg": words, "data": data})
    return Said(answer=answer, code=str(code), status=status)


def _submitted(reply: Reply) -> Said:
    record = reply.record
    if record.state == "succeeded":
        return _said(0, "OK", record.provider_refund_no)
    if record.state == "failed":
        return _said(DECLINED, record.reason)
    return _said(UNDER_WAY, "退款处理中")


def _notified(reply: Reply) -> dict[str, str]:
    record, off_s = reply.record, 3600 if reply.twist == "stale" else 0
    return {
        "appid": reply.merchant,
        "outer_trade_no": record.order,
        "outer_refund_no": record.refund,
        "refund_amount": _yuan(record.amount, reply.whim("places")),
        "trade_no": record.provider_refund_no,
        "timestamp": str(int(time.time()) - off_s),
    }


def _queried(reply: Reply) -> Said:
    """Status and amount come in several spellings; ``unknown`` has a status of no page."""
    record = reply.record
    unlisted = record.state == "pending" and record.fate.startswith("unknown")
    status: int | str = 9 if unlisted else _STATUS[record.state]
    data = {
        "refundStatus": status if reply.whim("status") < 0.5 else str(status),
        "refundAmount": _yuan(record.amount, reply.whim("places")),
        "refundTime": "2026-01-05 10:30:00",
    }
    return _said(0, "OK", data, str(status))
