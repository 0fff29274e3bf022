"""``quickpay``: JSON, synchronous answers, amounts in fen (seed 000).

The query and the status values follow providers.md, "quickpay"; the page itself has no query.
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from config.accounts import Account
from config.secret_values import SecretText
from refundry import RefundRequest
from worker.errors import NoAnswer
from worker.providers.base import (
    Options,
    Provider,
    RefundFacts,
    Traits,
    currency_problems,
    model_problems,
    read_options,
    secrets_of,
)
from worker.providers.formats import (
    dump_object,
    fen_of,
    no_negative_amounts,
    read_object,
    said,
    text_of,
)
from worker.providers.http import Answer, Call
from worker.providers.signatures import joined, md5_matches, md5_sign, times_named
from worker.refund import Outcome, Verdict

#: What an answer is judged by; where it is signed, each may be read in one place of it.
_DECISIVE: Final = (
    "code",
    "order_no",
    "refund_amount",
    "refund_order_no",
    "transaction_status",
)
_VERDICTS: Final = {
    "REFUNDED": Verdict.SUCCEEDED,
    "REFUNDFAILED": Verdict.REJECTED,
    "CREATE": Verdict.PENDING,
}


class QuickPayOptions(Options):
    """The account's own settings; lengths are the page's."""

    store_no: Annotated[str, Field(min_length=1, max_length=32)]
    #: Stands in for a request without an operator.
    operator: Annotated[str, Field(min_length=1, max_length=16)]
    #: The page documents no signature: fixed headers, or the sorted MD5 rule, by agreement.
    signing: Literal["none", "headers", "md5"] = "none"
    headers: dict[str, SecretText] = Field(default_factory=dict)
    sign_key: SecretText | None = None

    @model_validator(mode="after")
    def _signing_is_whole(self) -> Self:
        if self.signing == "headers" and not self.headers:
            raise ValueError('signing = "headers" needs headers')
        if self.signing == "md5" and self.sign_key is None:
            raise ValueError('signing = "md5" needs sign_key')
        return self


class _Item(BaseModel):
    """The page's ItemInfo; price in fen."""

    model_config = ConfigDict(extra="forbid", strict=True)

    item_id: str | None = None
    item_no: str | None = None
    item_name: str | None = None
    quantity: Annotated[int, Field(ge=1)] | None = None
    price: Annotated[int, Field(ge=0)] | None = None
    promotion_type: int | None = None


class _Extra(BaseModel):
    """What a request may carry beside the common fields."""

    model_config = ConfigDict(extra="forbid", strict=True)

    #: The store of this order, where it is not the account's.
    store_no: Annotated[str, Field(min_length=1, max_length=32)] | None = None


class QuickPay:
    """The provider for one account."""

    traits = Traits(deduplicates=True, resubmits=True, allows_until_accepted=True, watch_days=0)

    def __init__(self, account: Account) -> None:
        self._options = read_options(account, QuickPayOptions)
        self.secrets = secrets_of(self._options)
        self._base_url = account.base_url
        self._definitive = account.definitive_codes
        self._funds = account.funds_codes
        self.merchant = f"quickpay/{account.merchant or account.name}"

    def check(self, request: RefundRequest) -> list[str]:
        problems = currency_problems("quickpay", request)
        problems += model_problems("extra", _Extra, request.extra)
        for number, item in enumerate(request.items):
            problems += model_problems(f"items.{number}", _Item, item)
        if len(request.operator) > 16:
            problems.append("operator: has more than the 16 characters that quickpay takes")
        return problems

    def doubts(self, request: RefundRequest) -> list[str]:
        """The page wants the items of a partial refund where a single-item coupon was used."""
        paid = request.order_amount if request.paid_amount is None else request.paid_amount
        partial = request.refunded_before + request.amount < paid
        if partial and paid < request.order_amount and not request.items:
            return ["items: are missing; quickpay wants them if a single-item coupon was used"]
        return []

    def submission(self, facts: RefundFacts) -> Call:
        fields: dict[str, Any] = {
            "store_no": self._store(facts),
            "operator": facts.operator or self._options.operator,
            "amount": facts.order_amount,
            "refund_amount": facts.amount,
            "order_no": facts.order_no,
            "refund_no": facts.refund_no,
        }
        if facts.reason:
            fields["refund_desc"] = facts.reason
        if facts.items:
            fields["itemlist"] = facts.items
        return self._call("/QuickPay/Refund", fields)

    def question(self, facts: RefundFacts) -> Call:
        fields = {
            "store_no": self._store(facts),
            "order_no": facts.order_no,
            "refund_order_no": facts.refund_no,
        }
        return self._call("/QuickPay/RefundQuery", fields)

    def read_submission(self, facts: RefundFacts, answer: Answer) -> Outcome:
        fields = self._read(answer)
        code = text_of(fields, "code")
        if code == "SUCCESS":
            return self._read_data(facts, fields)
        if code in self._definitive:
            return self._refusal(facts, fields, Verdict.REJECTED)
        if code in self._funds:
            return self._refusal(facts, fields, Verdict.FUNDS)
        return Outcome(
            verdict=Verdict.UNKNOWN, code=said(code), message=said(text_of(fields, "msg"))
        )

    def read_reply(self, facts: RefundFacts, answer: Answer) -> Outcome:
        fields = self._read(answer)
        code = text_of(fields, "code")
        if code == "SUCCESS":
            return self._read_data(facts, fields)
        if code == "NOT_FOUND":
            return self._refusal(facts, fields, Verdict.NOT_FOUND)
        return Outcome(
            verdict=Verdict.UNKNOWN, code=said(code), message=said(text_of(fields, "msg"))
        )

    def _refusal(self, facts: RefundFacts, fields: dict[str, Any], verdict: Verdict) -> Outcome:
        """Beside a code other than SUCCESS the page lists no data; what is there must agree."""
        self._must_not_be_about_another(facts, fields.get("data"))
        return Outcome(
            verdict=verdict,
            code=said(text_of(fields, "code")),
            message=said(text_of(fields, "msg")),
        )

    def _store(self, facts: RefundFacts) -> str:
        return str(facts.extra.get("store_no") or self._options.store_no)

    def _call(self, path: str, fields: dict[str, Any]) -> Call:
        options = self._options
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if options.signing == "headers":
            headers |= {name: value.get_secret_value() for name, value in options.headers.items()}
        if options.signing == "md5" and options.sign_key:
            fields = {**fields, "sign": md5_sign(fields, options.sign_key.get_secret_value())}
        return Call(url=self._base_url + path, body=dump_object(fields), headers=headers)

    def _read(self, answer: Answer) -> dict[str, Any]:
        if answer.status != 200:
            raise NoAnswer(f"HTTP status {answer.status}")
        fields = read_object(answer.body)
        key = self._options.sign_key if self._options.signing == "md5" else None
        if key and not md5_matches(fields, key.get_secret_value()):
            raise NoAnswer("the answer's signature is wrong")
        if key and any(times_named(joined(fields), name) > 1 for name in _DECISIVE):
            raise NoAnswer("the answer can be read in more than one way")
        return fields

    def _read_data(self, facts: RefundFacts, fields: dict[str, Any]) -> Outcome:
        data = fields.get("data")
        if not isinstance(data, dict):
            raise NoAnswer("the answer has no data")
        self._must_be_about(facts, data)
        status = text_of(data, "transaction_status")
        return Outcome(
            verdict=_VERDICTS.get(status, Verdict.KNOWN),
            code=said(status),
            message=said(text_of(data, "transaction_message") or text_of(data, "error")),
            provider_refund_no=said(text_of(data, "refund_transaction_no"))[:128] or None,
        )

    def _must_not_be_about_another(self, facts: RefundFacts, data: Any) -> None:
        if not isinstance(data, dict):
            return
        known = {"order_no": facts.order_no, "refund_order_no": facts.refund_no}
        for name, ours in known.items():
            if text_of(data, name) not in ("", ours):
                raise NoAnswer(f"the answer is about {name} {said(text_of(data, name))!r}")
        if text_of(data, "transaction_status"):
            raise NoAnswer("the answer has both an error code and a transaction_status")

    def _must_be_about(self, facts: RefundFacts, data: dict[str, Any]) -> None:
        no_negative_amounts(data)
        for name, ours in (("order_no", facts.order_no), ("refund_order_no", facts.refund_no)):
            if text_of(data, name) != ours:
                raise NoAnswer(f"the answer is about {name} {said(text_of(data, name))!r}")
        if fen_of(text_of(data, "refund_amount")) != facts.amount:
            raise NoAnswer(f"the answer's amount is {said(text_of(data, 'refund_amount'))!r}")


def provider(account: Account) -> Provider:
    """The provider for an account of ``accounts.toml``."""
    return QuickPay(account)
