"""One installation to be broken: servers, proxy, receiver, simulator, and ``refundry up``."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psutil
import redis
from sqlalchemy import create_engine, text

from tests.e2e.service import Service, eventually, redis_answers
from tests.e2e.stack import PROVIDERS, Stack, running
from tests.faults.proxy import Proxy
from tests.faults.servers import PostgresServer, RabbitServer, RedisServer, messaging
from tests.receiver import SECRET, Receiver
from worker.ledger.migrate import upgrade

#: guanaitong does not deduplicate; quickpay takes a declined number as a new one.
ONCE: Final = ("/gat", "/qp")
_QUEUES: Final = ("refunds.intake", "refunds.submit", "refunds.poll", "refunds.announce")


class Broker(Protocol):
    """What can be done to a broker or to the Redis of the locks."""

    def restart(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def flush(self) -> None: ...


class EmbeddedValkey:
    """The broker that ``refundry up`` starts, and starts again."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def restart(self) -> None:
        """SIGKILL; it is back when it answers."""
        self._process().kill()
        time.sleep(0.2)
        eventually(lambda: redis_answers(self._service.urls["broker"]), "the Valkey is back")

    def freeze(self) -> None:
        self._process().suspend()

    def thaw(self) -> None:
        self._process().resume()

    def flush(self) -> None:
        with redis.Redis.from_url(self._service.urls["broker"]) as client:
            client.flushall()

    def _process(self) -> psutil.Process:
        return psutil.Process(self._service.pid_of("valkey"))


class RabbitBroker(RabbitServer):
    """A RabbitMQ that can be emptied."""

    def flush(self) -> None:
        with messaging.Connection(self.url) as connection, connection.channel() as channel:
            for queue in _QUEUES:
                channel.queue_purge(queue)


class KilledRedis(RedisServer):
    """A Redis whose restart is no orderly one."""

    def restart(self) -> None:
        self.kill()
        self.start()


class SqliteLedger:
    """The ledger's file: another process may hold the writer's place."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lock(self, seconds: float) -> None:
        """Hold the writer's place for so long."""
        with suppress(sqlite3.OperationalError):  # somebody else has it all the time
            connection = sqlite3.connect(self._path, timeout=20, isolation_level=None)
            try:
                connection.execute("BEGIN IMMEDIATE")
                time.sleep(seconds)
                connection.execute("ROLLBACK")
            finally:
                connection.close()


class PostgresLedger:
    """The ledger's server."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self.server, self._url = server, url

    def lock(self, seconds: float) -> None:
        """Keep everybody from writing to the refunds for so long."""
        engine = create_engine(self._url)
        try:
            with engine.begin() as connection:
                connection.execute(text("LOCK TABLE refunds IN EXCLUSIVE MODE"))
                time.sleep(seconds)
        finally:
            engine.dispose()


@dataclass(frozen=True, kw_only=True)
class World:
    """What the soak breaks and asks."""

    folder: Path
    stack: Stack
    proxy: Proxy
    receiver: Receiver
    broker: Broker
    ledger: SqliteLedger | PostgresLedger
    #: The Redis of the locks, where it is not the broker.
    locks: Broker | None
    #: With its password, which the service's ``ready`` line does not show.
    broker_url: str
    #: Of the gateway, for every account.
    token: str


@dataclass(frozen=True, kw_only=True)
class _Servers:
    database_url: str
    environment: Mapping[str, str]
    ledger: SqliteLedger | PostgresLedger
    broker: Broker | None = None
    locks: Broker | None = None


@contextmanager
def standing(kind: str, folder: Path, seed: int) -> Iterator[World]:
    """An installation of a kind of :data:`plan.STACKS`, ready for refunds."""
    with ExitStack() as held:
        servers = _servers(kind, folder, held)
        upgrade(servers.database_url)
        receiver = held.enter_context(Receiver())
        proxy = held.enter_context(Proxy(seed, once=ONCE))
        stack = held.enter_context(
            running(
                folder,
                servers.database_url,
                _announcing(folder, receiver),
                servers.environment,
                {name: _notified(name) for name in ("hk", "bf", "ga")},
                seed,
                proxy.before,
            )
        )
        accounts = [f"--account={name}" for name in PROVIDERS]
        made = json.loads(stack.refundry("token", "create", "soak", *accounts, "--json"))
        yield World(
            folder=folder,
            stack=stack,
            proxy=proxy,
            receiver=receiver,
            broker=servers.broker or EmbeddedValkey(stack.service),
            ledger=servers.ledger,
            locks=servers.locks,
            broker_url=servers.environment.get("REFUNDRY_BROKER_URL", stack.service.urls["broker"]),
            token=made["token"],
        )


def _servers(kind: str, folder: Path, held: ExitStack) -> _Servers:
    if kind == "sqlite":
        path = folder / "ledger.sqlite"
        return _Servers(database_url=f"sqlite:///{path}", environment={}, ledger=SqliteLedger(path))
    postgres = held.enter_context(PostgresServer(folder / "postgres"))
    locks = held.enter_context(KilledRedis(folder / "redis"))
    url = postgres.new_database()
    ledger = PostgresLedger(postgres, url)
    if kind == "postgresql":
        own = {"REFUNDRY_BROKER_URL": locks.url}
        return _Servers(database_url=url, environment=own, ledger=ledger, broker=locks)
    broker = held.enter_context(RabbitBroker(folder / "rabbit"))
    own = {"REFUNDRY_BROKER_URL": broker.url, "REFUNDRY_REDIS_URL": locks.url}
    return _Servers(database_url=url, environment=own, ledger=ledger, broker=broker, locks=locks)


def _announcing(folder: Path, receiver: Receiver) -> str:
    secret = folder / "announce.secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    return (
        f'announce_hosts = ["{receiver.host}"]\n'
        'announce_secret = "file:announce.secret"\nannounce_private = true\n'
    )


def _notified(account: str) -> str:
    return f'notify_url = "{{gateway}}/callbacks/{account}"\n'
