"""The accounts: which provider, where, with which credentials, and how patiently."""

import ipaddress
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from config.announce_hosts import ListedHost, signing_key
from config.errors import ConfigError, said
from config.rates import one_rate
from config.secret_values import SecretText
from config.statements import StatementLayout

#: About a minute, every minute five times, then 5, 10, 20 and 30 minutes (protocol, "Poll").
POLL_SCHEDULE_S: Final = (60, 60, 60, 60, 60, 60, 300, 600, 1200, 1800)
#: What an attempt's lease adds to the send deadline and the call's total time.
LEASE_MARGIN_S: Final = 20.0

Seconds = Annotated[float, Field(gt=0, le=86_400 * 366, allow_inf_nan=False)]


class Account(BaseModel):
    """One account. The fields that are not listed here are its provider's own ``options``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: The table's name in ``accounts.toml``.
    name: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,64}$")]
    provider: str
    #: Root of the provider's URLs, without a slash at its end.
    base_url: str
    #: Who the orders belong to; the provider's own merchant number where it has one.
    merchant: str | None = None
    #: Scales the waits that the protocol names; below 1 on loopback only.
    time_scale: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0

    connect_timeout_s: Seconds = 5.0
    read_timeout_s: Seconds = 15.0
    #: Bound of a whole call: look-up, connect, TLS, sending and reading.
    total_timeout_s: Seconds = 20.0
    #: An intent older than this is never sent.
    send_deadline_s: Seconds = 5.0
    #: How long the provider may take to show what it was sent.
    provider_delay_s: Seconds = 300.0

    #: When the next refund of an order may go: after the one before is final, or accepted.
    serialisation: Literal["until_final", "until_accepted"] = "until_final"
    #: Wait between two refunds of one order.
    spacing_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 0.0
    #: Most refunds of one order that are not failed or canceled.
    max_refunds_per_order: Annotated[int, Field(ge=1)] | None = None
    #: A refund of more than this, in fen, is sent once a second person has approved it.
    approval_above: Annotated[int, Field(ge=0)] | None = None
    #: The provider's codes that are a definite refusal, beside those on its page.
    definitive_codes: frozenset[str] = frozenset()
    #: The provider's codes for a balance that is short.
    funds_codes: frozenset[str] = frozenset()
    #: Whether a refund refused for funds waits and goes again under its own number.
    funds_same_number: bool = False
    #: How many "not found" answers are trusted, over how long, for how many sent attempts.
    not_found_needed: Annotated[int, Field(ge=1)] = 3
    not_found_over_s: Seconds = 600.0
    attempts_max: Annotated[int, Field(ge=1)] = 3
    poll_schedule_s: Annotated[tuple[Seconds, ...], Field(min_length=1)] = POLL_SCHEDULE_S
    #: How long a success is asked about again.
    watch_days: Annotated[int, Field(ge=0, le=3660)] | None = None
    #: Whether the provider's query is used.
    query: bool = True
    #: Our own address that the provider notifies: the gateway's ``/callbacks/{account}``.
    notify_url: Annotated[str, Field(pattern=r"^https?://[\x21-\x7e]+$", max_length=254)] | None = (
        None
    )
    #: Most submissions, and most questions, of all workers together, such as ``10/second``.
    rate_limit: Annotated[str, AfterValidator(one_rate)] | None = None
    #: So many calls in a row without a trustworthy answer stop sending for a while.
    breaker_failures: Annotated[int, Field(ge=1)] = 5
    #: After this one call is let through, to see whether the provider answers again.
    breaker_reset_s: Seconds = 30.0
    #: Hosts that may be told of refunds by URL: ``host`` (its scheme's own port), ``host:port``.
    announce_hosts: frozenset[ListedHost] = frozenset()
    #: What such announcements are signed with: ``whsec_`` and the key in base64.
    announce_secret: SecretText | None = None
    #: Whether such a host may have a private or loopback address, and be told over ``http`` there.
    announce_private: bool = False
    #: How the provider's bills are read; without it none is imported.
    statement: StatementLayout | None = None
    #: Whether beat reconciles every day that is over, and how long after its end.
    reconcile: bool = True
    reconcile_after_h: Annotated[float, Field(ge=0, le=24 * 7, allow_inf_nan=False)] = 3.0
    #: The provider's own settings, as they stand in the file; its module validates them.
    options: Mapping[str, Any] = Field(default_factory=dict, repr=False)
    #: Folder that ``file:`` paths are relative to.
    folder: Path = Field(default=Path(), repr=False)

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "options" in values:
            return values
        own = {key: value for key, value in values.items() if key in cls.model_fields}
        options = {key: value for key, value in values.items() if key not in cls.model_fields}
        return {**own, "options": options}

    @model_validator(mode="before")
    @classmethod
    def _codes_as_text(cls, values: Any) -> Any:
        for field in ("definitive_codes", "funds_codes"):
            if isinstance(values, dict) and isinstance(values.get(field), list):
                values = {**values, field: frozenset(str(code) for code in values[field])}
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            parts = urlsplit(self.base_url)
            _ = parts.port
        except ValueError:  # whose words may hold a part of a password
            raise ValueError("base_url has no host and port that can be read") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must be an http or https URL")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("base_url must be https; http is for loopback alone")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("base_url must have no query, fragment or user")
        if self.time_scale < 1 and not _is_loopback(parts.hostname):
            raise ValueError("time_scale below 1 is for demonstrations: base_url must be loopback")
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))
        return self

    @model_validator(mode="after")
    def _check_announcing(self) -> Self:
        if self.announce_secret is not None:
            signing_key(self.announce_secret.get_secret_value())
        elif self.announce_hosts:
            raise ValueError("announce_hosts needs announce_secret: nothing is told unsigned")
        return self

    @property
    def lease_s(self) -> float:
        """How long an attempt may stay without an outcome before it counts as unknown."""
        return self.send_deadline_s + self.total_timeout_s + LEASE_MARGIN_S

    @property
    def grace_s(self) -> float:
        """From an attempt's start: after it, nothing of the attempt can still arrive unseen."""
        return self.send_deadline_s + self.total_timeout_s + self.scaled(self.provider_delay_s)

    def scaled(self, seconds: float) -> float:
        """One of the waits that ``time_scale`` shortens."""
        return seconds * self.time_scale


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_accounts(path: Path) -> dict[str, Account]:
    """Read ``accounts.toml``; a file that is not there means no accounts.

    Raises:
        ConfigError: naming the account and the field that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"REFUNDRY_ACCOUNTS: cannot read {path}: {error}") from None
    try:
        tables = tomllib.loads(text).get("accounts", {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: accounts is not a table; write [accounts.NAME]")
    return {name: _account(path, name, table) for name, table in tables.items()}


def _account(path: Path, name: str, table: Any) -> Account:
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: accounts.{name} is not a table")
    try:
        folder = path.absolute().parent
        return Account.model_validate(
            {**table, "name": name, "folder": folder}, context={"folder": folder}
        )
    except ValidationError as error:
        raise ConfigError(explain(f"{path}: accounts.{name}", error)) from None


def explain(where: str, error: ValidationError) -> str:
    """One sentence a field; values are left out, for they may be secrets."""
    problems = (
        f"{'.'.join(map(str, problem['loc'])) or 'it'}: {said(problem)}"
        for problem in error.errors(include_input=False)
    )
    return f"{where}: {'; '.join(problems)}"
