"""One whole installation for the tests that leave it as they found it, on each database."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.e2e.stack import Stack, running


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp(f"stack-{request.param}")
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    if request.param == "postgresql":
        url = _new_database(request.getfixturevalue("postgres"))
    with running(folder, url) as one:
        yield one


def _new_database(server_url: str) -> str:
    server = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("CREATE DATABASE stack"))
    server.dispose()
    return make_url(server_url).set(database="stack").render_as_string(hide_password=False)
