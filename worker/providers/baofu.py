"""``baofu``: a signed form envelope, asynchronous, one refund of an order at a time (seed 002).

The envelope, the query, the states and the error codes follow providers.md, "baofu"; the page has
the fields of a refund alone. A refund's amount is its ``totalAmt``; what ``mktRefundInfo`` bears
of it is not the customer's, so ``refundAmt``, the rest, is held against what was paid.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import Field

from config.accounts import Account
from config.errors import ConfigError
from config.secret_values import SecretFile, SecretText
from refundry import RefundRequest
from refundry.fields import SHANGHAI
from worker.errors import NotSent
from worker.providers.baofu_answers import Reader
from worker.providers.baofu_extra import (
    NOTE_LENGTH,
    Merchant,
    extra_doubts,
    extra_problems,
    market_amount,
)
from worker.providers.base import (
    Acknowledgement,
    Notification,
    Options,
    Provider,
    RefundFacts,
    Traits,
    currency_problems,
    read_options,
    reason_problems,
    secrets_of,
)
from worker.providers.formats import dump_object
from worker.providers.http import Answer, Call, form_body
from worker.providers.rsa import load_private_key, load_public_key, rsa_sign
from worker.refund import Figures, Outcome
from worker.schedule import window_end

#: The answer's bound of ``outTradeNo``; the request's is 50.
_NUMBER_LENGTH: Final = 32
#: "交易时间超过一年的订单无法发起退款" (seed 002).
_WINDOW_YEARS: Final = 1

Serial = Annotated[str, Field(min_length=1, max_length=10)]


class BaofuOptions(Options):
    """The account's own settings; lengths are the page's."""

    mer_id: Merchant
    ter_id: Merchant
    agent_mer_id: Merchant | None = None
    agent_ter_id: Merchant | None = None
    #: The merchant's key, PEM or PFX.
    private_key: SecretFile
    private_key_password: SecretText | None = None
    #: Baofu's, a PEM key or a certificate.
    provider_public_key: SecretFile
    #: Which of several certificates are used, as Baofu numbers them.
    sign_sn: Serial = "1"
    ncrptn_sn: Serial = "1"


@contextmanager
def _naming(account: Account, setting: str) -> Iterator[None]:
    """A key that cannot be read is a wrong setting."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"accounts.{account.name}: {setting}: {error}") from None


def now() -> datetime:
    """The time that calls are stamped with, and that the window is held against."""
    return datetime.now(UTC)


class Baofu:
    """The provider for one account."""

    traits = Traits(
        deduplicates=True,
        resubmits=False,
        allows_until_accepted=False,
        watch_days=0,
        query_not_before_s=60,
        window_years=_WINDOW_YEARS,
    )
    taken = Acknowledgement(body=b"OK")
    #: Whatever is not ``OK`` makes Baofu send it again; the status says no to whoever reads that.
    declined = Acknowledgement(body=b"FAIL", status=400)

    def __init__(self, account: Account) -> None:
        self._options = options = read_options(account, BaofuOptions)
        self.secrets = secrets_of(self._options)
        self._url = account.base_url
        self._notify_url = account.notify_url
        if len(self._notify_url or "") > NOTE_LENGTH:
            raise ConfigError(
                f"accounts.{account.name}: notify_url: has more than the {NOTE_LENGTH} characters "
                "that baofu takes"
            )
        password = options.private_key_password
        with _naming(account, "private_key"):
            self._key = load_private_key(
                options.private_key.get_secret_value(),
                password.get_secret_value() if password else None,
            )
        with _naming(account, "provider_public_key"):
            public_key = load_public_key(options.provider_public_key.get_secret_value())
        self._reader = Reader(
            key=public_key,
            merchant={"merId": options.mer_id, "terId": options.ter_id},
            definitive=account.definitive_codes,
            funds=account.funds_codes,
        )
        self.merchant = f"baofu/{options.mer_id}"

    def check(self, request: RefundRequest) -> list[str]:
        return [
            *_number_problems(request),
            *reason_problems("baofu", request, NOTE_LENGTH),
            *_time_problems(request.paid_at),
            *extra_problems(request),
            *currency_problems("baofu", request),
            *_item_problems(request),
        ]

    def doubts(self, request: RefundRequest) -> list[str]:
        return extra_doubts(request)

    def marketing_amount(self, request: RefundRequest) -> int:
        return market_amount(request)

    def submission(self, facts: RefundFacts) -> Call:
        if facts.paid_at is None:
            raise NotSent("the order has no paid_at, which baofu's txnTime is made of")
        fields: dict[str, Any] = self._parties()
        if not facts.extra.get("originTradeNo"):
            fields["originOutTradeNo"] = facts.order_no
        fields |= {
            "outTradeNo": facts.refund_no,
            "refundAmt": facts.amount - facts.marketing_amount,
            "totalAmt": facts.amount,
            "txnTime": _wire_time(facts.paid_at),
            "refundReason": facts.reason,
        }
        if self._notify_url:
            fields["notifyUrl"] = self._notify_url
        named = {name: value for name, value in facts.extra.items() if value is not None}
        return self._call("order_refund", fields | named)

    def question(self, facts: RefundFacts) -> Call:
        """By Baofu's number once it is known, else by ours."""
        if facts.provider_refund_no:
            number = {"tradeNo": facts.provider_refund_no}
        else:
            number = {"outTradeNo": facts.refund_no}
        return self._call("refund_query", self._parties() | number)

    def read_submission(self, facts: RefundFacts, answer: Answer) -> Outcome:
        return self._reader.read_submission(facts, answer)

    def read_reply(self, facts: RefundFacts, answer: Answer) -> Outcome:
        return self._reader.read_reply(facts, answer)

    def balance_question(self, facts: RefundFacts) -> Call:
        """By the number that the refunds name the order by."""
        number = facts.extra.get("originTradeNo")
        named = {"originTradeNo": number} if number else {"originOutTradeNo": facts.order_no}
        return self._call("order_balance_query", self._parties() | named)

    def read_balance(self, facts: RefundFacts, answer: Answer) -> Figures:
        return self._reader.read_balance(facts, answer)

    def open_notification(self, content_type: str, body: bytes) -> Notification:
        return self._reader.open_notification(body)

    def read_notification(self, facts: RefundFacts, notification: Notification) -> Outcome:
        return self._reader.read_notification(facts, notification)

    def _parties(self) -> dict[str, Any]:
        """Who asks; the envelope and the content both say it."""
        options = self._options
        parties = {
            "agentMerId": options.agent_mer_id,
            "agentTerId": options.agent_ter_id,
            "merId": options.mer_id,
            "terId": options.ter_id,
        }
        return {name: value for name, value in parties.items() if value is not None}

    def _call(self, method: str, fields: dict[str, Any]) -> Call:
        content = dump_object(fields)
        envelope = self._parties() | {
            "method": method,
            "charset": "UTF-8",
            "version": "1.0",
            "format": "json",
            "timestamp": _wire_time(now()),
            "signType": "RSA",
            "signSn": self._options.sign_sn,
            "ncrptnSn": self._options.ncrptn_sn,
            "signStr": rsa_sign(self._key, content),
            "bizContent": content.decode(),
        }
        return Call(
            url=self._url,
            body=form_body(envelope),
            headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        )


def _wire_time(time: datetime) -> str:
    return time.astimezone(SHANGHAI).strftime("%Y%m%d%H%M%S")


def _number_problems(request: RefundRequest) -> list[str]:
    return [
        f"{name}: has more than the {_NUMBER_LENGTH} characters that baofu takes"
        for name in ("order_no", "refund_no")
        if len(getattr(request, name)) > _NUMBER_LENGTH
    ]


def _time_problems(paid_at: datetime | None) -> list[str]:
    if paid_at is None:
        return ["paid_at: baofu's txnTime is mandatory; say when the order was paid"]
    if now() > window_end(paid_at, _WINDOW_YEARS):
        return ["paid_at: baofu refunds nothing that was paid more than a year ago"]
    return []


def _item_problems(request: RefundRequest) -> list[str]:
    return ["items: baofu's page has no field for it; leave it out"] if request.items else []


def provider(account: Account) -> Provider:
    """The provider for an account of ``accounts.toml``."""
    return Baofu(account)
