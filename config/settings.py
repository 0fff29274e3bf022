"""The process's settings: environment variables that begin with ``REFUNDRY_``."""

import os
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from config.errors import BrokerNotStarted, ConfigError, said
from config.personal_keys import read_keys
from config.rates import one_rate

#: Where ``refundry up`` notes the URL of the broker that it embeds.
BROKER_NOTE = "broker.url"
#: The embedded ledger.
SQLITE_FILE = "ledger.sqlite"
#: A password cut short would have the rest taken for host, port or path, which are shown.
_UNREADABLE: Final = "is not a URL: percent-encode what its password has of : / ? # @"
_REDIS: Final = ("redis://", "rediss://", "unix://")


class Settings(BaseSettings):
    """Where things are. Every field has an embedded default below ``home``."""

    model_config = SettingsConfigDict(env_prefix="REFUNDRY_", frozen=True, extra="ignore")

    #: Folder for embedded data, logs and pid files.
    home: Path = Path(".refundry")
    #: Celery's broker; empty means the embedded Valkey.
    broker_url: SecretStr = SecretStr("")
    #: Order locks and rate limits; empty means the broker, when that is a Redis.
    redis_url: SecretStr = SecretStr("")
    #: The ledger; empty means SQLite in the home folder.
    database_url: SecretStr = SecretStr("")
    #: File with the database's password, where the URL has none.
    database_password_file: Path | None = None
    #: Path of ``accounts.toml``.
    accounts: Path = Path("accounts.toml")
    #: Fixed port of the gateway; `refundry up` takes a free one where absent.
    gateway_port: int | None = Field(default=None, ge=1, le=65535)
    #: Most requests of one token, over all gateways.
    gateway_rate_limit: Annotated[str, AfterValidator(one_rate)] = "600/minute"
    #: Fixed port of Flower; a free one where absent.
    flower_port: int | None = Field(default=None, ge=1, le=65535)
    #: ``user:password`` that Flower asks for; open on loopback where absent.
    flower_auth: SecretStr | None = None
    #: What personal data is encrypted with, the newest first; commas stand between them.
    personal_keys: SecretStr = SecretStr("")
    #: How long it is kept after its refund has become final, in days.
    personal_days: float = Field(default=7, ge=0, le=3660, allow_inf_nan=False)
    #: How many days after a refund's end its events and attempts are archived; never where absent.
    keep_days: float | None = Field(default=None, ge=1, le=36_600, allow_inf_nan=False)

    @field_validator("flower_auth")
    @classmethod
    def _user_and_password(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            user, _, password = value.get_secret_value().partition(":")
            if not user or not password or not value.get_secret_value().isascii():
                raise ValueError("must be user:password in ASCII")
        return value

    @field_validator("broker_url", "redis_url")
    @classmethod
    def _readable(cls, value: SecretStr) -> SecretStr:
        for url in value.get_secret_value().split(";"):  # Sentinel has several
            try:
                parts = urlsplit(url)
                _ = parts.port
            except ValueError:
                raise ValueError(_UNREADABLE) from None
            if "@" in parts.path + parts.query + parts.fragment:
                raise ValueError(_UNREADABLE)
        return value

    @field_validator("redis_url")
    @classmethod
    def _a_redis(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not value.get_secret_value().startswith(_REDIS):
            raise ValueError(f"must begin with {', '.join(_REDIS)}")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value():
            return value
        try:
            url = make_url(value.get_secret_value())
        except ArgumentError:
            raise ValueError("is not a SQLAlchemy URL") from None
        except ValueError:
            raise ValueError(_UNREADABLE) from None
        if "@" in (url.host or ""):
            raise ValueError(_UNREADABLE)
        backend = url.drivername.partition("+")[0]
        if backend not in ("sqlite", "postgres", "postgresql"):
            raise ValueError(f"{url.drivername} is not served; use postgresql or sqlite")
        if backend == "sqlite" and url.database in (None, "", ":memory:"):
            raise ValueError("names no file: each process would have a ledger of its own in memory")
        return value

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.gateway_port is not None and self.gateway_port == self.flower_port:
            raise ValueError("REFUNDRY_GATEWAY_PORT and REFUNDRY_FLOWER_PORT must differ")
        return self

    @model_validator(mode="after")
    def _absolute_home(self) -> Self:
        object.__setattr__(self, "home", self.home.absolute())
        return self

    @property
    def embeds_broker(self) -> bool:
        """Whether the broker is the Valkey that ``refundry up`` starts."""
        return not self.broker_url.get_secret_value()

    def broker(self) -> str:
        """URL of the broker, with its password.

        Raises:
            BrokerNotStarted: the embedded broker has never been started.
        """
        if not self.embeds_broker:
            return self.broker_url.get_secret_value()
        note = self.home / BROKER_NOTE
        if not note.exists():
            raise BrokerNotStarted(
                f"no broker: start one with `refundry up` (home {self.home}) "
                "or set REFUNDRY_BROKER_URL"
            )
        return note.read_text().strip()

    def redis(self) -> str:
        """URL of the Redis that holds the order locks and counts the rate limits.

        Raises:
            ConfigError: the broker is not a Redis and ``REFUNDRY_REDIS_URL`` is not set.
        """
        url = self.redis_url.get_secret_value() or self.broker()
        if not url.startswith(_REDIS):
            raise ConfigError("the broker is not a Redis: set REFUNDRY_REDIS_URL for the locks")
        return url

    def accounts_file(self) -> Path:
        """Path of ``accounts.toml``; where no variable names it, it need not be there.

        Without accounts every refund is refused: a file that is only missing must not do that.

        Raises:
            ConfigError: the variable names a file that is not there.
        """
        if "accounts" in self.model_fields_set and not self.accounts.exists():
            raise ConfigError(
                f"REFUNDRY_ACCOUNTS: there is no {self.accounts.absolute()}; "
                "write it, or correct the variable"
            )
        return self.accounts

    def database(self) -> str:
        """SQLAlchemy URL of the ledger, with its password; PostgreSQL always through psycopg 3.

        Raises:
            ConfigError: the file with the password cannot be read.
        """
        url = _absolute(self._database_url())
        if self.database_password_file is None:
            return url
        try:
            password = self.database_password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"REFUNDRY_DATABASE_PASSWORD_FILE: {error}") from None
        return make_url(url).set(password=password).render_as_string(hide_password=False)

    def seal_keys(self) -> tuple[SecretStr, ...]:
        """The keys that personal data is encrypted with, the newest first; none where none is set.

        Raises:
            ConfigError: one cannot be read, or is no key.
        """
        return read_keys(self.personal_keys.get_secret_value())

    def _database_url(self) -> str:
        url = self.database_url.get_secret_value()
        if not url:
            return f"sqlite:///{self.home / SQLITE_FILE}"
        for prefix in ("postgres://", "postgresql://"):
            if url.startswith(prefix):
                return "postgresql+psycopg://" + url.removeprefix(prefix)
        return url


def _absolute(url: str) -> str:
    """Processes run in different folders, where a relative SQLite path would be another file."""
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite" or parts.database in (None, "", ":memory:"):
        return url
    path = str(Path(str(parts.database)).absolute())
    return parts.set(database=path).render_as_string(hide_password=False)


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigError: naming the variable that is wrong.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        raise ConfigError(_named(error)) from None
    _refuse_celery_overrides(settings)
    return settings


def _named(error: ValidationError) -> str:
    return "; ".join(
        f"REFUNDRY_{'_'.join(map(str, problem['loc'])).upper()}: {said(problem)}"
        if problem["loc"]
        else said(problem)
        for problem in error.errors()
    )


def _refuse_celery_overrides(settings: Settings) -> None:
    """Celery lets these two override the code, which would split producers from workers."""
    url = os.environ.get("CELERY_BROKER_URL")
    if url and url != settings.broker_url.get_secret_value():
        raise ConfigError("CELERY_BROKER_URL overrides REFUNDRY_BROKER_URL: unset it")
    if os.environ.get("CELERY_RESULT_BACKEND"):
        raise ConfigError("CELERY_RESULT_BACKEND is set, but the ledger is the result: unset it")
