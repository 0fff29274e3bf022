"""What Guanaitong's answers and notifications show; they are bound by what was asked."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from worker.errors import NoAnswer, NotLetIn
from worker.providers.base import RefundFacts, Token
from worker.providers.formats import fen_of, fen_of_yuan, read_object, said, text_of
from worker.providers.http import Answer
from worker.refund import Outcome, Verdict

_OK: Final = "0"
#: Nothing was done: the timestamp is off, or the application is not known.
_MISCONFIGURED: Final = frozenset({"1000210001", "1000210003"})
#: Nothing was done: the access token is not valid.
_TOKEN: Final = "1000210004"
#: Part of the words of "refund number exists", whose code the page does not give.
_EXISTS_WORDS: Final = "退款号已存在"
#: A year: whoever says more does not mean it.
_MAX_LIFE_S: Final = 366 * 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Reads the answers that one account gets."""

    #: The codes of "refund number exists".
    exists: Set[str]
    not_found: str
    #: By ``refundStatus``.
    statuses: Mapping[str, Verdict]
    #: The account's own codes.
    definitive: Set[str]
    funds: Set[str]

    def read_submission(self, facts: RefundFacts, answer: Answer) -> Outcome:
        """What the answer to a submission shows. It names no refund: the request binds it."""
        fields = _fields(answer)
        if text_of(fields, "code") == _OK:
            number = fields.get("data")
            if type(number) is not str or not said(number).strip():
                raise NoAnswer("the answer says OK and has no trade number")
            return _outcome(Verdict.SUCCEEDED, fields, number)
        return _refusal(self._refused(fields), fields)

    def read_reply(self, facts: RefundFacts, answer: Answer) -> Outcome:
        """What the reply to a question shows; its amount must be ours."""
        fields = _fields(answer)
        code, data = text_of(fields, "code"), fields.get("data")
        if code == self.not_found:
            return _refusal(Verdict.NOT_FOUND, fields)
        if code != _OK:
            return _refusal(_general(code) or Verdict.UNKNOWN, fields)
        if not isinstance(data, dict):
            raise NoAnswer("the answer says OK and has no data")
        status, amount = text_of(data, "refundStatus"), text_of(data, "refundAmount")
        if not status:
            raise NoAnswer("the answer has no refundStatus")
        if fen_of_yuan(amount) != facts.amount:
            raise NoAnswer(f"the answer's refundAmount is {said(amount)!r}")
        verdict = self.statuses.get(status, Verdict.KNOWN)
        return Outcome(
            verdict=verdict, code=said(status)[:64], message=said(text_of(fields, "msg"))
        )

    def _refused(self, fields: dict[str, Any]) -> Verdict:
        """Doubt goes first: a number that exists may be our own, executed."""
        code = text_of(fields, "code")
        general = _general(code)
        if general is not None:
            return general
        if code in self.exists or _EXISTS_WORDS in text_of(fields, "msg"):
            return Verdict.EXISTS
        if code in self.funds:
            return Verdict.FUNDS
        return Verdict.REJECTED if code in self.definitive else Verdict.UNKNOWN


def read_token(answer: Answer) -> Token:
    """The token of an answer. Raises NotLetIn, or NoAnswer, which tell nothing of what it holds."""
    fields = _fields(answer)
    code, data = text_of(fields, "code"), fields.get("data")
    if code in _MISCONFIGURED:
        raise NotLetIn(code, said(text_of(fields, "msg")))
    if code != _OK or not isinstance(data, dict):
        words = said(f"{code} {text_of(fields, 'msg')}") if code != _OK else "no data"
        raise NoAnswer(f"the provider gave none: {words}")
    value, life_s = text_of(data, "access_token"), fen_of(text_of(data, "expires_in"))
    if not (value.isascii() and value.isprintable() and 1 <= len(value) <= 512):
        raise NoAnswer("the provider gave none: access_token is missing or unreadable")
    if life_s is None or not 1 <= life_s <= _MAX_LIFE_S:
        raise NoAnswer("the provider gave none: expires_in is missing or unreadable")
    return Token(value=value, expires_in_s=life_s)


def read_notified(facts: RefundFacts, fields: Mapping[str, str]) -> Outcome:
    """What a notification shows of our refund: they come on success alone."""
    for name, ours in (("outer_trade_no", facts.order_no), ("outer_refund_no", facts.refund_no)):
        if fields[name] != ours:
            raise NoAnswer(f"the notification is about {name} {said(fields[name])!r}")
    if fen_of_yuan(fields["refund_amount"]) != facts.amount:
        raise NoAnswer(f"the notification's amount is {said(fields['refund_amount'])!r}")
    number = said(fields["trade_no"])[:64]
    return Outcome(verdict=Verdict.SUCCEEDED, code="notified", provider_refund_no=number)


def _fields(answer: Answer) -> dict[str, Any]:
    if answer.status != 200:
        raise NoAnswer(f"HTTP status {answer.status}")
    fields = read_object(answer.body)
    if not text_of(fields, "code"):
        raise NoAnswer("the answer has no code")
    return fields


def _general(code: str) -> Verdict | None:
    """What a code says of any call."""
    if code == _TOKEN:
        return Verdict.TOKEN
    return Verdict.MISCONFIGURED if code in _MISCONFIGURED else None


def _refusal(verdict: Verdict, fields: dict[str, Any]) -> Outcome:
    """A code other than 0, beside which the page shows ``null``."""
    if verdict is not Verdict.UNKNOWN and fields.get("data") not in (None, "", {}):
        raise NoAnswer("the answer has both an error code and data")
    return _outcome(verdict, fields)


def _outcome(verdict: Verdict, fields: dict[str, Any], number: str = "") -> Outcome:
    return Outcome(
        verdict=verdict,
        code=said(text_of(fields, "code"))[:64],
        message=said(text_of(fields, "msg")),
        provider_refund_no=said(number)[:64] or None,
    )
