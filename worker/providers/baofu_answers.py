"""What Baofu's answers show: ``returnCode``, then ``resultCode``, then ``refundState``."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from worker.errors import Foreign, Forged, NoAnswer
from worker.providers.base import Notification, RefundFacts
from worker.providers.formats import (
    fen_of,
    negative_amount,
    no_negative_amounts,
    read_object,
    said,
    text_of,
)
from worker.providers.http import Answer, form_fields
from worker.providers.rsa import rsa_matches
from worker.refund import Figures, Outcome, Verdict

#: Definitely not executed (providers.md, "baofu"; so are the next two).
_DEFINITIVE: Final = frozenset(
    {
        "REFUND_AMT_EXCEEDS",
        "ORDER_NOT_SUPPORT_REFUNDS",
        "TRADE_AMT_EXCEEDS_LIMIT",
        "SHARE_INFO_NOT_CORRECT",
        "SHARE_DEPLOY_NOT_EXIST",
        "RISK_REFUSED",
        "INVALID_PARAMETER",
        "FEE_MER_ID_ERROR",
        "PAY_CODE_ERROR",
        "NOT_SUPPORT_PAY_CODE",
    }
)
#: Later, under the same number.
_BUSY: Final = frozenset({"NOT_SUPPORT_CONCURRENT"})
#: The account is set up wrongly.
_MISCONFIGURED: Final = frozenset(
    {
        "VERIFY_ERROR",
        "DGTL_DEC_ERROR",
        "MERCHANT_NOT_EXIST",
        "TERMINAL_NOT_EXIST",
        "MERID_TERID_NOT_MATCH",
        "UNOPENED_PRODUCT",
        "AGENT_RELATION_NOT_EXISTS",
        "DEPLOY_NOT_CORRECT",
        "MERCHANT_NOT_REPORT",
    }
)
_NOT_FOUND: Final = "ORDER_NOT_EXIST"
#: In answer to a submission: the acceptance, at most.
_ACCEPTED: Final = frozenset({"REFUND", "SUCCESS"})
#: In answer to a question.
_STATES: Final = {
    "SUCCESS": Verdict.SUCCEEDED,
    "REFUND": Verdict.PENDING,
    "REFUND_ERROR": Verdict.REJECTED,
}
#: What the page's answer to a submission names the refund by, beside its number.
_AMOUNTS: Final = ("refundAmt", "totalAmt")

#: What an order's figures are made of.
_FIGURES: Final = ("orderTotalAmt", "refundSuccessAmt", "refundProcessingAmt")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Reads the answers that one account gets."""

    key: RSAPublicKey
    #: ``merId`` and ``terId``: answers that name them must name these.
    merchant: Mapping[str, str]
    #: The account's own codes.
    definitive: Set[str]
    funds: Set[str]

    def read_submission(self, facts: RefundFacts, answer: Answer) -> Outcome:
        """What the answer to a submission shows."""
        fields = self._content(answer)
        if isinstance(fields, Outcome):
            return fields
        _must_not_be_about_another(self.merchant, facts, fields)
        if text_of(fields, "resultCode") == "FAIL":
            return self._refused(fields)
        if text_of(fields, "resultCode") != "SUCCESS":
            return _outcome(Verdict.UNKNOWN, fields)
        _must_name(fields, "outTradeNo", *_AMOUNTS)
        accepted = text_of(fields, "refundState") in _ACCEPTED and not text_of(fields, "errCode")
        return _outcome(Verdict.PENDING if accepted else Verdict.UNKNOWN, fields)

    def read_reply(self, facts: RefundFacts, answer: Answer) -> Outcome:
        """What the reply to a question shows; its page lists no number, so the question binds."""
        fields = self._content(answer)
        if isinstance(fields, Outcome):
            return fields
        _must_not_be_about_another(self.merchant, facts, fields)
        state = text_of(fields, "refundState")
        if state not in _STATES and self._is_misconfigured(fields):
            return _outcome(Verdict.MISCONFIGURED, fields)
        if state == "ABNORMAL" and text_of(fields, "errCode") == _NOT_FOUND:
            return _not_found(fields)
        verdict = _STATES.get(state, Verdict.UNKNOWN)
        if text_of(fields, "resultCode") != "SUCCESS":
            verdict = Verdict.UNKNOWN
        if verdict is Verdict.SUCCEEDED:
            _must_name(fields, "succAmt")
        _success_must_be_whole(facts, fields, state)
        return _outcome(verdict, fields)

    def read_balance(self, facts: RefundFacts, answer: Answer) -> Figures:
        """An order's figures, all of one answer, which add up; the question binds the order."""
        fields = self._content(answer)
        if isinstance(fields, Outcome):
            raise NoAnswer(f"the call was not taken: {fields.code} {fields.message}")
        _must_not_be_about_another(self.merchant, facts, fields)
        if text_of(fields, "resultCode") != "SUCCESS":
            code, message = (said(text_of(fields, name)) for name in ("errCode", "errMsg"))
            raise NoAnswer(f"the order's figures were not given: {code} {message}")
        total, refunded, under_way = (_fen(fields, name) for name in _FIGURES)
        if refunded + under_way > total:
            raise NoAnswer("the order's figures do not add up")
        return Figures(refunded=refunded, left=total - refunded - under_way)

    def open_notification(self, body: bytes) -> Notification:
        """A form or JSON; Baofu's one key signs for all merchants, so the content must name us."""
        envelope = read_object(body) if body.lstrip().startswith(b"{") else form_fields(body)
        content = text_of(envelope, "dataContent")
        if text_of(envelope, "notifyType") != "REFUND" or not content:
            raise NoAnswer("the message is no notification of a refund")
        if not rsa_matches(self.key, content.encode(), text_of(envelope, "signStr")):
            raise Forged("the notification's signature is wrong")
        fields = read_object(content.encode())
        for name, ours in self.merchant.items():
            if text_of(fields, name) != ours:
                raise Foreign(f"the notification's {name} is {said(text_of(fields, name))!r}")
        _must_name(fields, "outTradeNo", "refundState")
        return Notification(refund_no=text_of(fields, "outTradeNo"), fields=fields)

    def read_notification(self, facts: RefundFacts, notification: Notification) -> Outcome:
        """Without a clear amount it shows nothing for certain; with another it is not ours."""
        fields = notification.fields
        if negative_amount(fields):
            return _outcome(Verdict.UNKNOWN, fields)
        _must_not_be_about_another(self.merchant, facts, fields)
        state = text_of(fields, "refundState")
        _success_must_be_whole(facts, fields, state)
        verdict = _STATES.get(state, Verdict.UNKNOWN)
        if text_of(fields, "resultCode") not in ("", "SUCCESS"):
            verdict = Verdict.UNKNOWN
        if verdict is Verdict.SUCCEEDED and not text_of(fields, "succAmt"):
            verdict = Verdict.UNKNOWN
        return _outcome(verdict, fields)

    def _content(self, answer: Answer) -> dict[str, Any] | Outcome:
        """What was signed, read; or what the first layer says where the call did not arrive."""
        if answer.status != 200:
            raise NoAnswer(f"HTTP status {answer.status}")
        envelope = read_object(answer.body)
        code, content = text_of(envelope, "returnCode"), text_of(envelope, "dataContent")
        if code and code != "SUCCESS":
            message = said(text_of(envelope, "returnMsg"))
            return Outcome(verdict=Verdict.UNKNOWN, code=said(code)[:64], message=message)
        if not code or not content:
            raise NoAnswer("the answer has no returnCode or no dataContent")
        signed = content.encode()
        if not rsa_matches(self.key, signed, text_of(envelope, "signStr")):
            raise NoAnswer("the answer's signature is wrong")
        fields = read_object(signed)
        no_negative_amounts(fields)
        return fields

    def _refused(self, fields: dict[str, Any]) -> Outcome:
        """A code is only as good as the number beside it; a final one needs the amounts too."""
        verdict = self._verdict_of(text_of(fields, "errCode"))
        if verdict is Verdict.UNKNOWN:
            return _outcome(verdict, fields)
        if text_of(fields, "refundState") in _ACCEPTED:
            raise NoAnswer("the answer has both an error code and a refundState")
        _must_name(fields, "outTradeNo")
        if verdict in (Verdict.REJECTED, Verdict.FUNDS):
            _must_name(fields, *_AMOUNTS)
        return _outcome(verdict, fields)

    def _is_misconfigured(self, fields: dict[str, Any]) -> bool:
        failed = text_of(fields, "resultCode") == "FAIL"
        return failed and text_of(fields, "errCode") in _MISCONFIGURED

    def _verdict_of(self, code: str) -> Verdict:
        if code in self.funds:
            return Verdict.FUNDS
        if code in _DEFINITIVE or code in self.definitive:
            return Verdict.REJECTED
        if code in _BUSY:
            return Verdict.BUSY
        return Verdict.MISCONFIGURED if code in _MISCONFIGURED else Verdict.UNKNOWN


def _outcome(verdict: Verdict, fields: dict[str, Any]) -> Outcome:
    code = text_of(fields, "errCode") or text_of(fields, "refundState")
    return Outcome(
        verdict=verdict,
        code=said(code or text_of(fields, "resultCode"))[:64],
        message=said(text_of(fields, "errMsg")),
        provider_refund_no=said(text_of(fields, "tradeNo"))[:32] or None,
    )


def _not_found(fields: dict[str, Any]) -> Outcome:
    if fen_of(text_of(fields, "succAmt") or "0") != 0 or text_of(fields, "tradeNo"):
        raise NoAnswer("the answer says not found and names a refund")
    return _outcome(Verdict.NOT_FOUND, fields)


def _must_not_be_about_another(
    merchant: Mapping[str, str], facts: RefundFacts, fields: dict[str, Any]
) -> None:
    """Whatever identifies the refund must match, in whichever answer it comes."""
    known = {
        **merchant,
        "outTradeNo": facts.refund_no,
        "tradeNo": facts.provider_refund_no,
        "originOutTradeNo": facts.order_no,
        "originTradeNo": facts.extra.get("originTradeNo"),
    }
    for name, ours in known.items():
        named = fields.get(name) not in (None, "")
        if named and ours and text_of(fields, name) != ours:
            raise NoAnswer(f"the answer is about {name} {said(text_of(fields, name))!r}")
    amounts = {"refundAmt": facts.amount - facts.marketing_amount, "totalAmt": facts.amount}
    for name, amount in amounts.items():
        if fields.get(name) is not None and fen_of(text_of(fields, name)) != amount:
            raise NoAnswer(f"the answer's {name} is {said(text_of(fields, name))!r}")


def _fen(fields: dict[str, Any], name: str) -> int:
    fen = fen_of(text_of(fields, name))
    if fen is None:
        raise NoAnswer(f"the answer's {name} is {said(text_of(fields, name))!r}")
    return fen


def _must_name(fields: dict[str, Any], *names: str) -> None:
    for name in names:
        if not text_of(fields, name):
            raise NoAnswer(f"the answer has no {name}")


def _success_must_be_whole(facts: RefundFacts, fields: dict[str, Any], state: str) -> None:
    """``succAmt`` is ``refundAmt``; where nothing succeeded it may be 0 or absent."""
    given = text_of(fields, "succAmt")
    whole = facts.amount - facts.marketing_amount
    allowed = {whole} if state == "SUCCESS" else {whole, 0}
    if fields.get("succAmt") not in (None, "") and fen_of(given) not in allowed:
        raise NoAnswer(f"the answer's succAmt is {said(given)!r}")
