"""One whole installation for the tests that leave it as they found it, on each database."""

from collections.abc import Iterator

import pytest

from tests.databases import new_database
from tests.e2e.stack import Stack, running


@pytest.fixture(scope="module")
def postgres_database(postgres: str) -> str:
    """URL of an empty database of the module's own; it goes with the server."""
    return new_database(postgres)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp(f"stack-{request.param}")
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_database")
    with running(folder, url) as one:
        yield one
