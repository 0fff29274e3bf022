"""Gateways that tests share, once on each database."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import migrated, new_database
from tests.gateway.harness import Gateway
from worker.ledger.engine import Ledger


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, valkey: str
) -> Iterator[Gateway]:
    """One gateway a module; its tests use numbers of their own."""
    folder = tmp_path_factory.mktemp("gateway")
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    if request.param == "postgresql":
        url = new_database(request.getfixturevalue("postgres"))
    with migrated(url) as ledger, Gateway(folder, ledger, valkey) as one:
        yield one
        assert one.stop() == 0, one.log()
        assert "gateway.fault" not in one.log()


@pytest.fixture
def own_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of the test's own, for gateways that something is missing of."""
    with migrated(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as one:
        yield one


@pytest.fixture
def names() -> dict[str, Any]:
    """An order and a refund of the test's own."""
    own = secrets.token_hex(6)
    return {"order_no": f"O{own}", "refund_no": f"R{own}"}
