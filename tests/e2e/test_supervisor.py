"""``refundry up`` on real processes: it gets ready, it revives what dies, it leaves nothing."""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests

from tests.e2e.service import PATIENCE_S, Service, children_of, eventually, redis_answers

PARTS = {"valkey", "worker-1", "beat", "gateway", "flower"}
#: With what Flower's own environment variable would split, and a shell would mangle.
USER, PASSWORD = "ops", "a,b c'd"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home of refundry"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for tests that leave it as they found it."""
    home = tmp_path_factory.mktemp("shared") / "home"
    auth = f"{USER}:{PASSWORD}"
    with Service(home, "--workers=2", REFUNDRY_FLOWER_AUTH=auth) as service:
        yield service
        assert service.stop() == 0
        assert children_of(home) == []


def noted(home: Path) -> set[str]:
    return {path.stem for path in (home / "run").glob("*.pid")}


def run(service: Service) -> subprocess.CompletedProcess[str]:
    """Run the command of a service that should not start."""
    return subprocess.run(
        service.command, env=service.environment, capture_output=True, text=True, check=False
    )


def test_it_says_where_everything_is_once_everything_answers(shared: Service) -> None:
    assert {"broker", "database", "gateway", "flower", "home"} <= set(shared.urls)
    assert redis_answers(shared.urls["broker"])
    assert requests.get(f"{shared.urls['gateway']}/ready", timeout=PATIENCE_S).status_code == 200
    assert noted(shared.home) == PARTS | {"worker-2"}


def test_each_part_is_a_process_whose_command_line_names_it(shared: Service) -> None:
    words = [word for child in children_of(shared.home) for word in child.cmdline()]
    counts = Counter(word for word in words if word in ("worker", "beat", "gateway", "flower"))
    assert counts == {"worker": 2, "beat": 1, "gateway": 1, "flower": 1}


def test_a_ctrl_c_in_the_terminal_reaches_the_supervisor_alone(shared: Service) -> None:
    sessions = {os.getsid(child.pid) for child in children_of(shared.home)}
    assert os.getsid(shared.process.pid) not in sessions


def test_the_embedded_broker_is_durable_and_on_loopback(shared: Service) -> None:
    with redis.Redis.from_url(shared.urls["broker"]) as client:
        options = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "bind")
    assert options == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1",
    }


def test_a_second_supervisor_of_the_home_is_refused(shared: Service) -> None:
    second = run(shared)
    assert second.returncode == 1
    assert f"process {shared.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert redis_answers(shared.urls["broker"])


def test_flowers_api_asks_for_the_password(shared: Service) -> None:
    url = f"{shared.urls['flower']}/api/workers"
    assert requests.get(url, timeout=PATIENCE_S).status_code == 401
    assert requests.get(url, auth=(USER, "wrong"), timeout=PATIENCE_S).status_code == 401
    assert requests.get(url, auth=(USER, PASSWORD), timeout=PATIENCE_S).status_code == 200
    assert all(PASSWORD not in " ".join(child.cmdline()) for child in children_of(shared.home))


@pytest.mark.parametrize("part", ["flower", "gateway"])
def test_a_taken_port_is_named_and_nothing_stays_behind(
    part: str, shared: Service, tmp_path: Path
) -> None:
    port = shared.urls[part].rpartition(":")[2]
    variable = f"REFUNDRY_{part.upper()}_PORT"
    refused = run(Service(tmp_path / "other", **{variable: port}))
    assert refused.returncode == 2
    assert variable in refused.stderr
    assert children_of(tmp_path / "other") == []


def test_accounts_that_are_missing_are_named_and_nothing_stays_behind(tmp_path: Path) -> None:
    refused = run(Service(tmp_path / "other", REFUNDRY_ACCOUNTS=str(tmp_path / "none.toml")))
    assert refused.returncode == 2
    assert f"REFUNDRY_ACCOUNTS: there is no {tmp_path / 'none.toml'}" in refused.stderr
    assert children_of(tmp_path / "other") == []


def test_a_ledger_that_is_no_database_is_named_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("somebody's notes, which are no database" * 50)
    url = f"sqlite:///{tmp_path / 'ledger'}"
    refused = run(Service(tmp_path / "other", REFUNDRY_DATABASE_URL=url))
    assert refused.returncode == 3
    assert "file is not a database" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("part", ["worker-1", "beat", "gateway", "valkey"])
def test_what_is_killed_comes_back(shared: Service, part: str) -> None:
    killed = shared.pid_of(part)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: shared.pid_of(part) not in (0, killed), f"{part} is started again")
    eventually(lambda: redis_answers(shared.urls["broker"]), "the broker answers")
    eventually(lambda: noted(shared.home) == PARTS | {"worker-2"}, "everything runs")


def test_a_restart_keeps_data_and_ports(home: Path) -> None:
    with Service(home, "--workers=1") as service:
        before = service.urls
        with redis.Redis.from_url(before["broker"]) as client:
            client.set("kept", "1")
        assert service.stop() == 0
        assert children_of(home) == []
        assert noted(home) == set()
        service.start()
        assert service.urls == before
        with redis.Redis.from_url(before["broker"]) as client:
            assert client.get("kept") == b"1"
        api = f"{before['flower']}/api"
        assert requests.get(f"{api}/workers", timeout=PATIENCE_S).status_code == 200
        shutdown = requests.post(f"{api}/worker/shutdown/x", timeout=PATIENCE_S)
        assert shutdown.status_code == 403, "Flower is read-only"
    open_to_others = [path for path in home.rglob("*") if path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_after_a_kill_of_the_supervisor_the_next_one_leaves_no_doubles(home: Path) -> None:
    with Service(home, "--workers=1") as service:
        service.process.kill()
        service.wait()
        left = {process.pid for process in children_of(home)}
        assert len(left) == len(PARTS)
        service.start()
        now = {process.pid for process in children_of(home)}
        assert not left & now
        assert len(now) == len(PARTS)


def test_an_unnoted_valkey_on_our_data_is_replaced_and_a_strangers_process_is_not(
    home: Path,
) -> None:
    with Service(home, "--workers=1") as service, subprocess.Popen(["sleep", "600"]) as stranger:
        valkey = service.pid_of("valkey")
        service.process.kill()
        service.wait()
        (home / "run" / "valkey.pid").unlink()
        note = f'{{"name": "worker-9", "pid": {stranger.pid}, "started_at": 1.0, "grace_s": 1.0}}'
        (home / "run" / "worker-9.pid").write_text(note)
        service.start()
        assert stranger.poll() is None
        stranger.kill()
        assert service.pid_of("valkey") not in (0, valkey)
        assert len(children_of(home)) == len(PARTS)
