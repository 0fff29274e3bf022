"""``refundry doctor``: what is wrong with the set-up, and what to do about it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Final

import redis
import typer

from config.accounts import Account, load_accounts
from config.celery_options import VISIBILITY_TIMEOUT_S
from config.errors import ConfigError
from config.settings import Settings, load_settings
from worker.cli.output import EXIT_AWAY, EXIT_DONE, EXIT_REFUSED, print_json, print_line
from worker.errors import ServiceAway
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.ledger.migrate import is_current
from worker.ledger.query_first import modes
from worker.runtime import build_lines
from worker.supervisor.readiness import masked

_TIMEOUT_S: Final = 3.0
_REDIS_SCHEMES: Final = ("redis://", "rediss://", "unix://")


class Health(StrEnum):
    """How a part of the set-up is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    AWAY = "away"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One part of the set-up: how it is, and what to do where it is not well."""

    part: str
    health: Health
    detail: str
    advice: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Check settings, broker, Redis, database and accounts."""
    findings = list(_examine())
    for finding in findings:
        if as_json:
            print_json(asdict(finding))
        else:
            advice = f" -> {finding.advice}" if finding.advice else ""
            print_line(f"{finding.health:8} {finding.part}: {finding.detail}{advice}")
    raise SystemExit(_exit_code({finding.health for finding in findings}))


def _exit_code(found: set[Health]) -> int:
    """What is wrong has to be put right first, so it hides what is away."""
    if Health.WRONG in found:
        return EXIT_REFUSED
    return EXIT_AWAY if Health.AWAY in found else EXIT_DONE


def _examine() -> Iterator[Finding]:
    try:
        settings = load_settings()
    except ConfigError as error:
        yield _wrong("settings", error, "correct or unset the variable")
        return
    yield _ok("settings", f"home {settings.home}")
    yield _home(settings)
    yield from _broker(settings)
    yield _redis(settings)
    database = _database(settings)
    yield database
    if database.health is Health.OK:
        yield from _query_first(settings)
    yield from _accounts(settings)


def _ok(part: str, detail: str) -> Finding:
    return Finding(part=part, health=Health.OK, detail=detail)


def _wrong(part: str, problem: object, advice: str = "") -> Finding:
    return Finding(part=part, health=Health.WRONG, detail=str(problem), advice=advice)


def _away(part: str, problem: object, advice: str) -> Finding:
    return Finding(part=part, health=Health.AWAY, detail=str(problem), advice=advice)


def _home(settings: Settings) -> Finding:
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        return _wrong("home", f"{folder} is not writable", "set REFUNDRY_HOME to a folder of yours")
    return _ok("home", "writable")


def _broker(settings: Settings) -> Iterator[Finding]:
    try:
        url = settings.broker()
    except ConfigError as error:
        yield _away("broker", error, "")
        return
    if url.startswith(_REDIS_SCHEMES):
        yield _ping("broker", url, _start_it(settings, "REFUNDRY_BROKER_URL"))
        yield from _durability(url)
    else:
        yield _connect(url)


def _connect(url: str) -> Finding:
    from worker.app import app  # it needs a broker's URL, which is certain only here

    advice = "start it, or correct REFUNDRY_BROKER_URL"
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=_TIMEOUT_S)
    except (ImportError, KeyError) as error:
        return _wrong("broker", f"{masked(url)}: no such transport: {error}", advice)
    except Exception as error:  # every transport has its own way to say that the broker is away
        return _away("broker", f"{masked(url)} does not answer: {error}", advice)
    return _ok("broker", masked(url))


def _redis(settings: Settings) -> Finding:
    try:
        url = settings.redis()
    except ConfigError as error:
        away = settings.embeds_broker
        return _away("redis", error, "") if away else _wrong("redis", error)
    return _ping("redis", url, _start_it(settings, "REFUNDRY_REDIS_URL"))


def _start_it(settings: Settings, variable: str) -> str:
    return "run `refundry up`" if settings.embeds_broker else f"start it, or correct {variable}"


def _ping(part: str, url: str, advice: str) -> Finding:
    def ask() -> None:
        with _client(url) as client:
            client.ping()

    problem = _redis_problem(ask)
    if problem:
        return _away(part, f"{masked(url)} does not answer: {problem}", advice)
    return _ok(part, masked(url))


def _durability(url: str) -> Iterator[Finding]:
    """A broker that evicts keys or keeps nothing on disk loses messages; the ledger does not."""
    options: dict[str, str] = {}

    def ask() -> None:
        with _client(url) as client:
            options.update(client.config_get("maxmemory-policy", "appendonly"))

    if _redis_problem(ask):
        return  # away, which is said already, or not ours to ask
    wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes"}
    for name, value in wanted.items():
        if options.get(name, value) != value:
            yield Finding(
                part="broker",
                health=Health.WARNING,
                detail=f"{name} is {options[name]}",
                advice=f"set it to {value}, or lost messages wait for the next sweep",
            )


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        decode_responses=True,
    )


def _redis_problem(ask: Callable[[], None]) -> str:
    try:
        ask()
    except (redis.RedisError, OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def _database(settings: Settings) -> Finding:
    url = settings.database()
    advice = "run `refundry db upgrade`"
    try:
        current = is_current(url)
    except ServiceAway as error:
        return _away("database", f"{masked(url)}: {error}", f"start it, or {advice}")
    except Exception as error:  # a URL or driver that SQLAlchemy does not know
        return _wrong("database", f"{masked(url)}: {error}", "correct REFUNDRY_DATABASE_URL")
    if not current:
        return _wrong("database", f"{masked(url)} is not migrated to this version", advice)
    return _ok("database", masked(url))


def _query_first(settings: Settings) -> Iterator[Finding]:
    """Accounts that ask before they send, after a restore."""
    engine = create_ledger_engine(settings.database())
    with Ledger(engine).read() as connection:
        found = modes(connection)
    engine.dispose()
    for mode in found:
        yield Finding(
            part=f"account {mode.account}",
            health=Health.WARNING,
            detail=f"asks first since {mode.since}: {mode.reason}",
            advice="once `refundry accounts` shows nothing uncleared: `refundry query-first end`",
        )


def _accounts(settings: Settings) -> Iterator[Finding]:
    path = settings.accounts.absolute()
    try:
        accounts = load_accounts(settings.accounts_file())
    except ConfigError as error:
        yield _wrong("accounts", error)
        return
    if not accounts:
        yield _wrong("accounts", f"none in {path}", "write it, or set REFUNDRY_ACCOUNTS")
    findings = [_account(account) for account in accounts.values()]
    yield from findings
    if all(finding.health is Health.OK for finding in findings):
        yield from _together(accounts)
        yield from _personal(settings, accounts)


def _personal(settings: Settings, accounts: dict[str, Account]) -> Iterator[Finding]:
    """Whether refunds that say who a person is can be taken in."""
    try:
        keys = settings.seal_keys()
    except ConfigError as error:
        yield _wrong("personal data", error)
        return
    named = sorted(name for name, line in build_lines(accounts).items() if line.personal)
    if keys:
        yield _ok("personal data", f"{len(keys)} keys, the newest first")
    elif named:
        yield Finding(
            part="personal data",
            health=Health.WARNING,
            detail=f"no key: refunds of {', '.join(named)} that say who a person is are refused",
            advice="make one with `refundry personal key` and name it in REFUNDRY_PERSONAL_KEYS",
        )


def _account(account: Account) -> Finding:
    part = f"account {account.name}"
    try:
        build_lines({account.name: account})
    except ConfigError as error:
        return _wrong(part, error)
    lease = f"lease {account.lease_s:g} s of at most {VISIBILITY_TIMEOUT_S / 2:g} s"
    return _ok(part, f"{account.provider} at {account.base_url}, {lease}")


def _together(accounts: dict[str, Account]) -> Iterator[Finding]:
    try:
        build_lines(accounts)
    except ConfigError as error:
        yield _wrong("accounts", error)
