"""What a worker process works with, built once a process, after any fork."""

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Final

from config.accounts import Account, load_accounts
from config.celery_options import VISIBILITY_TIMEOUT_S
from config.errors import ConfigError
from config.settings import Settings, load_settings
from worker.access_tokens import Tokens
from worker.announcing.couriers import Couriers
from worker.announcing.webhooks import Webhooks
from worker.errors import Refused
from worker.evidence import Masks, masks
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.ledger.orders import ensure_account
from worker.lots import Lanes
from worker.order_lock import OrderLocks
from worker.providers.base import (
    Markets,
    Notifies,
    Personal,
    Provider,
    Secretive,
    Tokened,
    load_provider,
)
from worker.providers.http import Wire
from worker.rate_limits import RateLimits
from worker.refund import Rules
from worker.seals import Seals

#: Questions a process asks at once, over all accounts.
ASKERS: Final = 16


class Line:
    """One account at work: its settings, its provider and its connections."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.provider: Provider = load_provider(account)
        self.wire = Wire(account)
        self.webhooks = Webhooks(account)
        #: Held while this process asks for the account, so that a provider that hangs holds up
        #: one tick, not all of them.
        self.asking = threading.Lock()

    @cached_property
    def rules(self) -> Rules:
        """What decisions need to know of the account."""
        account = self.account
        return Rules(
            deduplicates=self.provider.traits.deduplicates,
            attempts_max=account.attempts_max,
            not_found_needed=account.not_found_needed,
            not_found_over=timedelta(seconds=account.scaled(account.not_found_over_s)),
            funds_same_number=account.funds_same_number,
            releases_on_acceptance=account.serialisation == "until_accepted",
            asks=account.query,
        )

    @cached_property
    def masks(self) -> Masks:
        """What is masked of what is kept of its calls and their answers."""
        provider = self.provider
        secrets = provider.secrets if isinstance(provider, Secretive) else frozenset()
        return masks(self.personal, (one.get_secret_value() for one in secrets))

    @cached_property
    def tokened(self) -> Tokened | None:
        """The provider, where its calls carry an access token."""
        return self.provider if isinstance(self.provider, Tokened) else None

    @cached_property
    def markets(self) -> Markets | None:
        """The provider, where a merchant's marketing may bear a part of a refund."""
        return self.provider if isinstance(self.provider, Markets) else None

    @cached_property
    def personal(self) -> frozenset[str]:
        """The provider's fields that say who a person is."""
        return self.provider.personal if isinstance(self.provider, Personal) else frozenset()

    @cached_property
    def hears(self) -> bool:
        """Whether the provider tells us by itself what has become of a refund."""
        return self.account.notify_url is not None and isinstance(self.provider, Notifies)

    @property
    def watch_days(self) -> int:
        """How long a success is asked about again."""
        days = self.account.watch_days
        return self.provider.traits.watch_days if days is None else days


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Everything the steps are given."""

    ledger: Ledger
    lines: Mapping[str, Line]
    locks: OrderLocks
    limits: RateLimits
    tokens: Tokens
    askers: ThreadPoolExecutor
    couriers: Couriers = field(default_factory=Couriers)
    #: Where what its threads write at one time is put together.
    lanes: Lanes = field(default_factory=Lanes)
    #: What personal data is encrypted with.
    seals: Seals = field(default_factory=Seals)
    #: How long it is kept once its refund is final.
    personal_for: timedelta = timedelta(days=7)
    #: How long a final refund's events and attempts are kept from the archive; None: for ever.
    hot_for: timedelta | None = None

    def line(self, account: str) -> Line:
        """The account's line.

        Raises:
            Refused: there is no such account.
        """
        if account not in self.lines:
            known = ", ".join(sorted(self.lines)) or "none"
            raise Refused("unknown_account", f"account {account!r} is not one of: {known}")
        return self.lines[account]

    @cached_property
    def limited(self) -> bool:
        """Whether any account has a rate limit."""
        return any(line.account.rate_limit for line in self.lines.values())

    @cached_property
    def resubmitting(self) -> frozenset[str]:
        """The accounts whose provider takes a failed number again."""
        lines = self.lines.items()
        return frozenset(name for name, line in lines if line.provider.traits.resubmits)

    @cached_property
    def personal_names(self) -> frozenset[str]:
        """The fields of any account's provider that say who a person is."""
        return frozenset().union(*(line.personal for line in self.lines.values()))

    @property
    def longest_lease_s(self) -> float:
        """The lease that every account's attempts fit in: the order lock's life."""
        return max((line.account.lease_s for line in self.lines.values()), default=60.0)


def suspended_clock() -> float:
    """Seconds by a clock that counts the time a machine was suspended, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def build_lines(accounts: Mapping[str, Account]) -> dict[str, Line]:
    """The accounts at work.

    Raises:
        ConfigError: a provider that is not there, leases the broker would not wait for, or accounts
            of one merchant that do not go together.
    """
    _refuse_unclear_merchants(accounts)
    for account in accounts.values():
        if 2 * account.lease_s >= VISIBILITY_TIMEOUT_S:
            raise ConfigError(
                f"accounts.{account.name}: send_deadline_s + total_timeout_s + 20 is "
                f"{account.lease_s:g} s; it must stay below {VISIBILITY_TIMEOUT_S / 2:g} s"
            )
    lines = {name: Line(account) for name, account in accounts.items()}
    _refuse_mixed_serialisation(lines.values())
    return lines


def _refuse_mixed_serialisation(lines: Iterable[Line]) -> None:
    """Accounts of one merchant share orders; one that lets go early would let go for all."""
    seen: dict[str, Line] = {}
    for line in lines:
        other = seen.setdefault(line.provider.merchant, line).account
        if other.serialisation != line.account.serialisation:
            raise ConfigError(
                f"accounts.{line.account.name} and accounts.{other.name} share the orders of "
                f"{line.provider.merchant}: set the same serialisation on both"
            )


def _refuse_unclear_merchants(accounts: Mapping[str, Account]) -> None:
    """Two accounts of one merchant share orders; where only ``merchant`` says so, it must."""
    seen: dict[tuple[str, str], Account] = {}
    for account in accounts.values():
        other = seen.setdefault((account.provider, account.base_url), account)
        unclear = account.merchant is None or other.merchant is None
        if other is not account and unclear and account.provider == "quickpay":
            raise ConfigError(
                f"accounts.{account.name} and accounts.{other.name} share a base_url: "
                "set merchant on both, to the same value if they share orders"
            )


def build_runtime(settings: Settings) -> Runtime:
    """Build everything from the settings and note the accounts in the ledger."""
    runtime = open_runtime(settings)
    with runtime.ledger.write() as connection:
        for name, line in sorted(runtime.lines.items()):
            ensure_account(connection, name, line.account.provider, line.provider.merchant)
    return runtime


def open_runtime(settings: Settings) -> Runtime:
    """Build everything from the settings; the ledger is left as it is."""
    return Runtime(
        ledger=Ledger(create_ledger_engine(settings.database())),
        lines=build_lines(load_accounts(settings.accounts_file())),
        locks=OrderLocks(settings.redis()),
        limits=RateLimits(settings.redis()),
        tokens=Tokens(settings.redis()),
        askers=ThreadPoolExecutor(ASKERS, thread_name_prefix="asker"),
        seals=Seals([key.get_secret_value() for key in settings.seal_keys()]),
        personal_for=timedelta(days=settings.personal_days),
        hot_for=None if settings.keep_days is None else timedelta(days=settings.keep_days),
    )


_building = threading.Lock()
_built: list[Runtime] = []


def get_runtime() -> Runtime:
    """This process's runtime, built at the first call."""
    with _building:
        if not _built:
            _built.append(build_runtime(load_settings()))
        return _built[0]
