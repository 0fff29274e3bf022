"""What a provider is to the steps: data about its nature, and how to ask and read.

A provider is one module. It builds calls and reads answers; it never sends, locks or commits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Final, Protocol, TypeVar, cast, runtime_checkable

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from config.accounts import Account, explain
from config.errors import ConfigError
from refundry import RefundRequest
from worker.providers.http import Answer, Call
from worker.refund import Figures, Outcome

#: Entry-point group under which an installed package offers a provider of its own.
ENTRY_POINTS: Final = "refundry.providers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """The nature of a provider, as its page says."""

    #: A number sent twice is executed once.
    deduplicates: bool
    #: A failed refund may be sent again under its own number.
    resubmits: bool
    #: The next refund of an order may go once the one before is accepted.
    allows_until_accepted: bool
    #: How long a success is asked about again.
    watch_days: int
    #: No question comes sooner than this after T1; ``time_scale`` shortens it.
    query_not_before_s: int = 0
    #: No refund of an order is taken so many years, by Shanghai's calendar, after it was paid.
    window_years: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RefundFacts:
    """What a call is made of; amounts in fen."""

    order_no: str
    refund_no: str
    amount: int
    #: What of it the merchant's marketing bears; the rest comes from what was paid.
    marketing_amount: int
    order_amount: int
    paid_amount: int
    paid_at: datetime | None
    reason: str
    operator: str
    items: list[Any]
    extra: dict[str, Any]
    provider_refund_no: str | None


class Provider(Protocol):
    """One provider's module, set up for one account."""

    traits: Traits
    #: Who orders and refund numbers belong to, unique among all providers.
    merchant: str

    def check(self, request: RefundRequest) -> list[str]:
        """What the provider's page would refuse of this request, a sentence each."""

    def doubts(self, request: RefundRequest) -> list[str]:
        """What it may refuse for facts that only it knows; a warning each, never a refusal."""

    def submission(self, facts: RefundFacts) -> Call:
        """The call that submits a refund."""

    def read_submission(self, facts: RefundFacts, answer: Answer) -> Outcome:
        """What the answer to a submission shows. Raises NoAnswer where it cannot be trusted."""

    def question(self, facts: RefundFacts) -> Call:
        """The call that asks what became of a refund."""

    def read_reply(self, facts: RefundFacts, answer: Answer) -> Outcome:
        """What the reply to a question shows. Raises NoAnswer where it cannot be trusted."""


@runtime_checkable
class Markets(Protocol):
    """A provider that refunds more than was paid, where the merchant's marketing bears the rest."""

    def marketing_amount(self, request: RefundRequest) -> int:
        """What of a checked request's amount is marketing, in fen: less than the amount."""


@runtime_checkable
class Personal(Protocol):
    """A provider some of whose fields say who a person is; they never travel in a task."""

    #: Their names, as a request's ``extra`` spells them.
    personal: frozenset[str]


@runtime_checkable
class Secretive(Protocol):
    """A provider that says what is secret of its account, so that no record of a call holds it."""

    secrets: frozenset[SecretStr]


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """What a provider lets an application in by, for a while."""

    value: str = field(repr=False)
    expires_in_s: int


@runtime_checkable
class Tokened(Protocol):
    """A provider whose calls carry an access token, which all workers share."""

    #: Whom the token lets in.
    merchant: str
    #: Most tokens that it hands out an hour.
    tokens_an_hour: int

    def token_call(self) -> Call:
        """The call that asks for a new token."""

    def read_token(self, answer: Answer) -> Token:
        """The token of its answer.

        Raises NotLetIn where the account is set up wrongly, NoAnswer where there is none.
        """

    def with_token(self, call: Call, token: str) -> Call:
        """A call as it is sent: with the token, and signed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """A provider's own message about one refund, rightly signed."""

    refund_no: str
    #: As the provider's module read them, for :meth:`Notifies.read_notification`.
    fields: dict[str, Any]
    #: Rightly signed, but with a time that is too far off to be trusted by itself.
    stale: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledgement:
    """What a provider is answered, in its own words."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


@runtime_checkable
class Notifies(Protocol):
    """A provider that sends notifications."""

    #: The answer to one that was stored, and to one that was not.
    taken: Acknowledgement
    declined: Acknowledgement

    def open_notification(self, content_type: str, body: bytes) -> Notification:
        """What a message says, its signature checked over the bytes that came.

        Raises NoAnswer where it is forged, unreadable, or another merchant's.
        """

    def read_notification(self, facts: RefundFacts, notification: Notification) -> Outcome:
        """What it shows of our refund. Raises NoAnswer where it names another order or amount."""


@runtime_checkable
class Balances(Protocol):
    """A provider that can be asked for an order's figures."""

    def balance_question(self, facts: RefundFacts) -> Call:
        """The call that asks what was refunded of the refund's order."""

    def read_balance(self, facts: RefundFacts, answer: Answer) -> Figures:
        """The order's figures. Raises NoAnswer where the answer cannot be trusted."""


class Options(BaseModel):
    """Base of a provider's own settings in ``accounts.toml``; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


OwnOptions = TypeVar("OwnOptions", bound=Options)


def read_options(account: Account, model: type[OwnOptions]) -> OwnOptions:
    """The account's own settings, validated.

    Raises:
        ConfigError: naming the account and the setting.
    """
    try:
        return model.model_validate(dict(account.options), context={"folder": account.folder})
    except ValidationError as error:
        raise ConfigError(explain(f"accounts.{account.name}", error)) from None


def secrets_of(options: Options) -> frozenset[SecretStr]:
    """The secret texts among an account's own settings."""
    values = [value for _, value in options]
    values += [inner for value in values if isinstance(value, dict) for inner in value.values()]
    return frozenset(one for one in values if isinstance(one, SecretStr))


def model_problems(where: str, model: type[BaseModel], value: Any) -> list[str]:
    """A sentence for every field of ``value`` that the provider's page would refuse."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        return [
            f"{where}.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        ]
    return []


def currency_problems(name: str, request: RefundRequest) -> list[str]:
    """A sentence if the request is in a currency that the provider does not settle in."""
    if request.currency == "CNY":
        return []
    return [f"currency: {name} settles in CNY, not {request.currency}"]


def reason_problems(name: str, request: RefundRequest, longest: int) -> list[str]:
    """A sentence if the reason, which the provider's page makes mandatory, is not as it says."""
    if not request.reason.strip():
        return [f"reason: is mandatory for {name}; say why"]
    if len(request.reason) > longest:
        return [f"reason: has more than the {longest} characters that {name} takes"]
    return []


def load_provider(account: Account) -> Provider:
    """The account's provider: a module of this package, or a package's entry point.

    Raises:
        ConfigError: no such provider, or settings that it does not take.
    """
    provider = _maker(account)(account)
    _check_serialisation(account, provider.traits)
    _check_notifications(account, provider)
    return provider


def _maker(account: Account) -> Callable[[Account], Provider]:
    offered = entry_points(group=ENTRY_POINTS)
    if account.provider in offered.names:
        return cast(Callable[[Account], Provider], offered[account.provider].load())
    name = f"worker.providers.{account.provider}"
    if account.provider.isidentifier() and find_spec(name):
        module = import_module(name)
        if hasattr(module, "provider"):
            return cast(Callable[[Account], Provider], module.provider)
    raise ConfigError(f"accounts.{account.name}: there is no provider {account.provider!r}")


def _check_serialisation(account: Account, traits: Traits) -> None:
    if account.serialisation == "until_accepted" and not traits.allows_until_accepted:
        raise ConfigError(
            f"accounts.{account.name}: {account.provider} allows no refund of an order before the "
            "one before is final; remove serialisation"
        )


def _check_notifications(account: Account, provider: Provider) -> None:
    if account.notify_url is not None and not isinstance(provider, Notifies):
        raise ConfigError(
            f"accounts.{account.name}: {account.provider} sends no notifications; remove notify_url"
        )
