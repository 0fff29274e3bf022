"""``hkrt``: JSON with an MD5 signature, ``refundquery``, amounts in yuan (seed 001)."""

import re
from typing import Annotated, Any, Final

from pydantic import Field

from config.accounts import Account
from config.secret_values import SecretText
from refundry import RefundRequest
from worker.errors import Foreign, Forged, NoAnswer
from worker.providers.base import (
    Acknowledgement,
    Notification,
    Options,
    Provider,
    RefundFacts,
    Traits,
    currency_problems,
    read_options,
    secrets_of,
)
from worker.providers.formats import (
    dump_object,
    fen_of_yuan,
    negative_amount,
    no_negative_amounts,
    read_object,
    said,
    text_of,
    yuan,
)
from worker.providers.http import Answer, Call
from worker.providers.signatures import joined, may_shift, md5_matches, md5_sign, times_named
from worker.refund import Figures, Outcome, Verdict

_TAKEN: Final = "10000"
_NOT_FOUND: Final = "10404"
_VERDICTS: Final = {"1": Verdict.SUCCEEDED, "2": Verdict.REJECTED, "3": Verdict.KNOWN}
#: A notification's ``trade_status``.
_TOLD: Final = {"1": Verdict.SUCCEEDED, "2": Verdict.REJECTED, "3": Verdict.PENDING}
_JSON: Final = "application/json; charset=utf-8"
#: What an answer or a notification is judged by; each may be read in one place of it.
_DECISIVE: Final = (
    "accessid",
    "error_code",
    "out_refund_no",
    "out_trade_no",
    "refund_amount",
    "refund_no",
    "refund_status",
    "return_code",
    "trade_status",
)
#: The channel's own parameters, which have some of these names too (seed 001).
_ATTACHED: Final = "attach"
#: Not even there.
_VERDICT_NAMES: Final = ("refund_status", "trade_status")
#: "只能是数字、大小写字母" (seed 001, out_refund_no).
_REFUND_NO: Final = re.compile(r"[0-9A-Za-z]{1,64}")


class HkrtOptions(Options):
    """The account's own settings."""

    access_id: Annotated[str, Field(min_length=1, max_length=64)]
    access_key: SecretText
    #: Part of the path; ``wx`` and ``polymeric`` are the known ones.
    channel: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")] = "wx"
    #: What a notification that was stored is answered; nothing public says it for certain.
    acknowledgement: Annotated[str, Field(min_length=1, max_length=256)] = (
        '{"return_code":"SUCCESS"}'
    )


class Hkrt:
    """The provider for one account."""

    traits = Traits(deduplicates=True, resubmits=False, allows_until_accepted=True, watch_days=30)
    #: The page has no word for no. Whatever is not the acknowledgement makes hkrt send it again;
    #: the status says no to whoever reads that alone.
    declined = Acknowledgement(body=b'{"return_code":"FAIL"}', content_type=_JSON, status=400)

    def __init__(self, account: Account) -> None:
        self._options = read_options(account, HkrtOptions)
        self.secrets = secrets_of(self._options)
        self._pay_url = f"{account.base_url}/api/v1/pay/{self._options.channel}"
        self._notify_url = account.notify_url
        self.taken = Acknowledgement(
            body=self._options.acknowledgement.encode(), content_type=_JSON
        )
        self._definitive = account.definitive_codes
        self._funds = account.funds_codes
        self.merchant = f"hkrt/{self._options.access_id}"

    def check(self, request: RefundRequest) -> list[str]:
        problems = currency_problems("hkrt", request)
        if not _REFUND_NO.fullmatch(request.refund_no):
            problems.append("refund_no: hkrt takes up to 64 digits and letters, nothing else")
        if may_shift(request.order_no):
            problems.append("order_no: holds & or =, which hkrt's signature does not tell")
        for name in ("items", "extra"):
            if getattr(request, name):
                problems.append(f"{name}: hkrt's page has no field for it; leave it out")
        return problems

    def doubts(self, request: RefundRequest) -> list[str]:
        return []

    def submission(self, facts: RefundFacts) -> Call:
        fields = {
            "out_refund_no": facts.refund_no,
            "out_trade_no": facts.order_no,
            "refund_amount": yuan(facts.amount),
        }
        if self._notify_url:
            fields["notify_url"] = self._notify_url
        return self._call("refund", fields)

    def question(self, facts: RefundFacts) -> Call:
        """By the platform's number once it is known (the page prefers it), else by ours."""
        if facts.provider_refund_no:
            return self._call("refundquery", {"refund_no": facts.provider_refund_no})
        return self._call("refundquery", {"out_refund_no": facts.refund_no})

    def read_submission(self, facts: RefundFacts, answer: Answer) -> Outcome:
        fields = self._read(answer)
        if text_of(fields, "return_code") != _TAKEN:
            return self._not_taken(fields, Verdict.UNKNOWN)
        outcome = self._read_status(facts, fields)
        error = text_of(fields, "error_code")
        if outcome.verdict is Verdict.SUCCEEDED or not error:
            return outcome
        if error in self._funds:
            return self._outcome(Verdict.FUNDS, fields)
        return self._outcome(Verdict.REJECTED, fields) if error in self._definitive else outcome

    def read_reply(self, facts: RefundFacts, answer: Answer) -> Outcome:
        fields = self._read(answer)
        code = text_of(fields, "return_code")
        if code == _NOT_FOUND:
            if text_of(fields, "refund_status"):
                raise NoAnswer("the answer says not found and has a refund_status")
            self._must_not_be_about_another(facts, fields)
            return self._not_taken(fields, Verdict.NOT_FOUND)
        if code != _TAKEN:
            return self._not_taken(fields, Verdict.UNKNOWN)
        return self._read_status(facts, fields)

    def open_notification(self, content_type: str, body: bytes) -> Notification:
        fields = read_object(body)
        if not md5_matches(fields, self._options.access_key.get_secret_value()):
            raise Forged("the notification's signature is wrong")
        if not _reads_one_way(fields):
            raise Forged("the notification can be read in more than one way")
        if fields.get("accessid", self._options.access_id) != self._options.access_id:
            raise Foreign("the notification is for another accessid")
        number = text_of(fields, "out_refund_no")
        if not number or not text_of(fields, "trade_status"):
            raise NoAnswer("the notification has no out_refund_no or no trade_status")
        return Notification(refund_no=number, fields=fields)

    def read_notification(self, facts: RefundFacts, notification: Notification) -> Outcome:
        """Without a clear amount it shows nothing for certain; with another it is not ours."""
        fields = notification.fields
        order_no = text_of(fields, "out_trade_no")
        if order_no and order_no != facts.order_no:
            raise NoAnswer(f"the notification is about out_trade_no {said(order_no)!r}")
        self._must_not_be_about_another(facts, fields)
        unclear = negative_amount(fields, except_for="refund_amount")
        if unclear or not text_of(fields, "refund_amount"):
            return self._outcome(Verdict.UNKNOWN, fields)
        self._must_be_about(facts, fields)
        told = _TOLD.get(text_of(fields, "trade_status"), Verdict.UNKNOWN)
        return self._outcome(told, fields)

    def _call(self, name: str, fields: dict[str, Any]) -> Call:
        fields = {"accessid": self._options.access_id, **fields}
        fields["sign"] = md5_sign(fields, self._options.access_key.get_secret_value())
        return Call(
            url=f"{self._pay_url}/{name}",
            body=dump_object(fields),
            headers={"Content-Type": _JSON},
        )

    def _read(self, answer: Answer) -> dict[str, Any]:
        if answer.status != 200:
            raise NoAnswer(f"HTTP status {answer.status}")
        fields = read_object(answer.body)
        if not md5_matches(fields, self._options.access_key.get_secret_value()):
            raise NoAnswer("the answer's signature is wrong")
        if not _reads_one_way(fields):
            raise NoAnswer("the answer can be read in more than one way")
        return fields

    def _not_taken(self, fields: dict[str, Any], verdict: Verdict) -> Outcome:
        return Outcome(
            verdict=verdict,
            code=said(text_of(fields, "return_code")),
            message=said(text_of(fields, "return_msg")),
        )

    def _read_status(self, facts: RefundFacts, fields: dict[str, Any]) -> Outcome:
        self._must_be_about(facts, fields)
        status = text_of(fields, "refund_status")
        if not status:
            raise NoAnswer("the answer has no refund_status")
        return self._outcome(_VERDICTS.get(status, Verdict.UNKNOWN), fields)

    def _outcome(self, verdict: Verdict, fields: dict[str, Any]) -> Outcome:
        status = text_of(fields, "refund_status") or text_of(fields, "trade_status")
        return Outcome(
            verdict=verdict,
            code=said(text_of(fields, "error_code") or status)[:64],
            message=said(text_of(fields, "error_msg") or text_of(fields, "status_msg")),
            provider_refund_no=said(text_of(fields, "refund_no"))[:128] or None,
            figures=_figures(fields),
        )

    def _must_not_be_about_another(self, facts: RefundFacts, fields: dict[str, Any]) -> None:
        known = {"out_refund_no": facts.refund_no, "refund_no": facts.provider_refund_no}
        for name, number in known.items():
            given = text_of(fields, name)
            if given and number and given != number:
                raise NoAnswer(f"the answer is about {name} {said(given)!r}")

    def _must_be_about(self, facts: RefundFacts, fields: dict[str, Any]) -> None:
        """Lenient about what is missing, but our number or the platform's must be there."""
        self._must_not_be_about_another(facts, fields)
        ours, theirs = text_of(fields, "out_refund_no"), text_of(fields, "refund_no")
        if not (ours or (facts.provider_refund_no and theirs)):
            raise NoAnswer("the answer names no refund of ours")
        no_negative_amounts(fields, except_for="refund_amount")
        amount = text_of(fields, "refund_amount")
        if fen_of_yuan(amount, sign_ignored=True) != facts.amount:
            raise NoAnswer(f"the answer's amount is {said(amount)!r}")


def _reads_one_way(fields: dict[str, Any]) -> bool:
    """Whether no other fields with the same text to sign would show something else."""
    attached = joined({_ATTACHED: fields.get(_ATTACHED)})
    own = joined({name: value for name, value in fields.items() if name != _ATTACHED})
    if any(times_named(attached, name) for name in _VERDICT_NAMES):
        return False
    return all(times_named(own, name) == bool(text_of(fields, name)) for name in _DECISIVE)


def _figures(fields: dict[str, Any]) -> Figures | None:
    """The order's cumulative figures; one that is not there or unreadable is none."""
    refunded = fen_of_yuan(text_of(fields, "refunded_amount"))
    left = fen_of_yuan(text_of(fields, "remanent_amount"))
    return None if refunded is None and left is None else Figures(refunded=refunded, left=left)


def provider(account: Account) -> Provider:
    """The provider for an account of ``accounts.toml``."""
    return Hkrt(account)
