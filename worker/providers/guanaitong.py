"""``guanaitong``: JSON with a token and a SHA-1 signature, synchronous, not idempotent (seed 003).

Token, signature and query follow providers.md, "guanaitong"; the page has the refund and its
notification. A number sent twice is refused or executed, whatever the first one became, so what may
have been sent is never sent again.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator

from config.accounts import Account
from config.secret_values import SecretText
from refundry import RefundRequest
from worker.errors import Foreign, Forged, NoAnswer
from worker.providers import guanaitong_answers as answers
from worker.providers.base import (
    Acknowledgement,
    Notification,
    Options,
    Provider,
    RefundFacts,
    Token,
    Traits,
    currency_problems,
    model_problems,
    read_options,
    reason_problems,
    secrets_of,
)
from worker.providers.formats import dump_object, fen_of, yuan
from worker.providers.guanaitong_fields import (
    PERSONAL,
    Extra,
    foreign_parts,
    in_snake_case,
    sums_that_differ,
)
from worker.providers.http import Answer, Call, form_body, form_fields
from worker.providers.signatures import (
    may_shift,
    sha1_matches,
    sha1_sign,
    sha1_text,
    times_named,
)
from worker.refund import Outcome, Verdict

_FORM: Final = "application/x-www-form-urlencoded"
_GRANT: Final = "client_credential"
_VERSION: Final = "1.0.0"
_NUMBER_LENGTHS: Final = range(2, 51)
_REASON_LENGTH: Final = 254
#: "允许的时间戳偏差为5分钟" (seed 003).
_WINDOW_S: Final = 300
#: The page's table of the notification, beside ``sign``.
_NOTIFIED: Final = (
    "appid",
    "outer_trade_no",
    "outer_refund_no",
    "refund_amount",
    "trade_no",
    "timestamp",
)
_VERDICTS: Final = {
    "succeeded": Verdict.SUCCEEDED,
    "failed": Verdict.REJECTED,
    "pending": Verdict.PENDING,
}

Status = Literal["succeeded", "failed", "pending"]
_STATUSES: Final[dict[str, Status]] = {"1": "succeeded", "2": "failed", "0": "pending"}


class GuanaitongOptions(Options):
    """The account's own settings."""

    appid: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,40}$")]
    appsecret: SecretText
    #: The codes of "refund number exists"; its words count as well.
    exists_codes: frozenset[str] = frozenset()
    #: How a submission's fields are spelled: as in the page's table, or as in its example.
    field_style: Literal["camel", "snake"] = "camel"
    #: The account settles by price difference: a refund names what it cost.
    price_difference: bool = False
    #: What a query's ``refundStatus`` means, and the code for a number that is not known.
    refund_statuses: dict[str, Status] = Field(default_factory=lambda: dict(_STATUSES))
    not_found_code: str = "1000210404"

    @field_validator("exists_codes", mode="before")
    @classmethod
    def _codes_as_text(cls, value: Any) -> Any:
        return frozenset(map(str, value)) if isinstance(value, list) else value

    @field_validator("not_found_code", mode="before")
    @classmethod
    def _code_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value


def now() -> datetime:
    """The time that calls are stamped with, and that notifications are held against."""
    return datetime.now(UTC)


class Guanaitong:
    """The provider for one account."""

    traits = Traits(deduplicates=False, resubmits=False, allows_until_accepted=False, watch_days=0)
    personal = PERSONAL
    #: "At most 60 an hour" (providers.md).
    tokens_an_hour = 60
    taken = Acknowledgement(body=b"success")
    #: Whatever is not ``success`` is sent again; the status says no to whoever reads that.
    declined = Acknowledgement(body=b"fail", status=400)

    def __init__(self, account: Account) -> None:
        self._options = options = read_options(account, GuanaitongOptions)
        self.secrets = secrets_of(self._options)
        self._base_url = account.base_url
        self._notify_url = account.notify_url
        self._reader = answers.Reader(
            exists=options.exists_codes,
            not_found=options.not_found_code,
            statuses={text: _VERDICTS[word] for text, word in options.refund_statuses.items()},
            definitive=account.definitive_codes,
            funds=account.funds_codes,
        )
        self.merchant = f"guanaitong/{options.appid}"

    def check(self, request: RefundRequest) -> list[str]:
        return [
            *self._number_problems(request),
            *reason_problems("guanaitong", request, _REASON_LENGTH),
            *self._extra_problems(request),
            *currency_problems("guanaitong", request),
            *_item_problems(request),
        ]

    def doubts(self, request: RefundRequest) -> list[str]:
        """Sums that do not come out; coupons and roundings are the provider's to know."""
        extra = Extra.model_validate(request.extra)
        found = list(sums_that_differ(extra, Decimal(yuan(request.amount))))
        trade, differs = extra.tradeInfo, self._options.price_difference
        if (
            trade
            and not differs
            and Decimal(trade.thirdCostAmount) != Decimal(trade.thirdRefundAmount)
        ):
            found.append("extra.tradeInfo: without price_difference, cost and refund are the same")
        return found

    def submission(self, facts: RefundFacts) -> Call:
        fields: dict[str, Any] = {
            "outerTradeNo": facts.order_no,
            "outerRefundNo": facts.refund_no,
            "reason": facts.reason,
            "refundAmount": yuan(facts.amount),
        }
        if self._notify_url:
            fields["notifyUrl"] = self._notify_url
        fields |= Extra.model_validate(facts.extra).model_dump(exclude_none=True)
        if self._options.field_style == "snake":
            fields = in_snake_case(fields)
        return self._call("syncRefund", fields, fresh=True)

    def question(self, facts: RefundFacts) -> Call:
        return self._call("getRefundResult", {"refundOuterTradeNo": facts.refund_no}, fresh=False)

    def read_submission(self, facts: RefundFacts, answer: Answer) -> Outcome:
        return self._reader.read_submission(facts, answer)

    def read_reply(self, facts: RefundFacts, answer: Answer) -> Outcome:
        return self._reader.read_reply(facts, answer)

    def token_call(self) -> Call:
        fields = self._signed({"grant_type": _GRANT})
        return Call(
            url=f"{self._base_url}/token/create",
            body=form_body(fields),
            headers={"Content-Type": _FORM},
        )

    def read_token(self, answer: Answer) -> Token:
        return answers.read_token(answer)

    def with_token(self, call: Call, token: str) -> Call:
        """The signature covers the body, which is none of the query's parameters."""
        common = {"access_token": token, "grant_type": _GRANT, "version": _VERSION}
        signed = self._signed({**common, "_body": call.body.decode()})
        query = form_body({name: value for name, value in signed.items() if name != "_body"})
        return Call(
            url=f"{call.url}?{query.decode()}",
            body=call.body,
            headers=call.headers,
            fresh=call.fresh,
        )

    def open_notification(self, content_type: str, body: bytes) -> Notification:
        if content_type.partition(";")[0].strip().lower() != _FORM:
            raise NoAnswer("the notification is not a form")
        fields = form_fields(body)
        if not sha1_matches(fields, self._secret):
            raise Forged("the notification's signature is wrong")
        if fields.get("appid") != self._options.appid:
            raise Foreign("the notification is for another appid")
        for name in _NOTIFIED:
            if not fields.get(name):
                raise NoAnswer(f"the notification has no {name}")
            if "&" in fields[name] or times_named(sha1_text(fields), name) != 1:
                raise Forged(f"the notification's {name} can be read in more than one way")
        sent_at = fen_of(fields["timestamp"])
        if sent_at is None:
            raise NoAnswer("the notification's timestamp is none")
        stale = abs(now().timestamp() - sent_at) > _WINDOW_S
        return Notification(refund_no=fields["outer_refund_no"], fields=dict(fields), stale=stale)

    def read_notification(self, facts: RefundFacts, notification: Notification) -> Outcome:
        return answers.read_notified(facts, notification.fields)

    @property
    def _secret(self) -> str:
        return self._options.appsecret.get_secret_value()

    def _call(self, name: str, fields: dict[str, Any], *, fresh: bool) -> Call:
        return Call(
            url=f"{self._base_url}/seller/v3/pay/{name}",
            body=dump_object(fields),
            headers={"Content-Type": "application/json"},
            fresh=fresh,
        )

    def _signed(self, own: dict[str, str]) -> dict[str, str]:
        """The parameters of a call with who asks, when, and the signature."""
        stamp = str(int(now().timestamp()))
        fields = {"appid": self._options.appid, **own, "timestamp": stamp}
        return fields | {"sign": sha1_sign(fields, self._secret)}

    def _number_problems(self, request: RefundRequest) -> list[str]:
        appid, problems = self._options.appid, []
        for name in ("order_no", "refund_no"):
            number = getattr(request, name)
            if not number.startswith(appid):
                problems.append(f"{name}: must begin with the appid, {appid}")
            if len(number) not in _NUMBER_LENGTHS:
                problems.append(f"{name}: guanaitong takes 2 to 50 characters")
            if may_shift(number):
                problems.append(f"{name}: holds & or =, which guanaitong's signature does not tell")
        return problems

    def _extra_problems(self, request: RefundRequest) -> list[str]:
        problems = model_problems("extra", Extra, request.extra)
        if problems:
            return problems
        extra = Extra.model_validate(request.extra)
        if self._options.price_difference and not (extra.costAmount or extra.tradeInfo):
            problems.append("extra: the account has price_difference: give costAmount or tradeInfo")
        return [*problems, *foreign_parts(extra, self._options.appid)]


def _item_problems(request: RefundRequest) -> list[str]:
    if not request.items:
        return []
    return ["items: guanaitong takes goods in extra.tradeInfo; leave it out"]


def provider(account: Account) -> Provider:
    """The provider for an account of ``accounts.toml``."""
    return Guanaitong(account)
