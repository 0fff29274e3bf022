"""``make run``: the main job on real processes, again and again in one home folder."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.e2e.service import PATIENCE_S, children_of, clean_environment, eventually

#: A batch takes about 20 s on two cores.
RUN_PATIENCE_S = 120.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def start(home: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "worker.cli", "demo", *options],
        env={**clean_environment(), "REFUNDRY_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_once(home: Path) -> str:
    with start(home, "--once") as demo:
        output, _ = demo.communicate(timeout=RUN_PATIENCE_S)
    assert demo.returncode == 0, output
    return output


def called_back(home: Path) -> set[str]:
    """Accounts whose simulated providers have told the gateway something."""
    with closing(sqlite3.connect(home / "ledger.sqlite")) as ledger:
        return {account for (account,) in ledger.execute("SELECT account FROM callbacks")}


def wait_for_line(demo: subprocess.Popen[str], beginning: str) -> None:
    assert demo.stdout is not None
    assert any(line.startswith(beginning) for line in demo.stdout), beginning


def supervisor_of(demo: subprocess.Popen[str]) -> psutil.Process:
    return next(p for p in psutil.Process(demo.pid).children() if "up" in p.cmdline())


def test_after_a_kill_of_the_supervisor_amid_a_batch_the_next_run_succeeds(home: Path) -> None:
    with start(home) as demo:
        wait_for_line(demo, "final 1")
        supervisor_of(demo).kill()
        demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 3
    assert len(children_of(home)) > 0
    output = run_once(home)
    assert "all 65 as the providers' book says, none executed twice" in output
    assert "timeout after the provider acted" in output
    assert {"shop-hkrt", "shop-baofu"} <= called_back(home)
    assert children_of(home) == []


def test_when_the_demonstration_is_killed_its_service_stops(home: Path) -> None:
    with start(home) as demo:
        wait_for_line(demo, "final 0")
        demo.kill()
    eventually(lambda: children_of(home) == [], "nothing stays behind")


def test_a_ctrl_c_while_it_starts_says_stopped_when_nothing_is_left(home: Path) -> None:
    with start(home) as demo:
        eventually(lambda: (home / "run" / "flower.pid").exists(), "the service is starting")
        supervisor = supervisor_of(demo)
        os.kill(demo.pid, signal.SIGINT)
        wait_for_line(demo, "stopped")
        assert not supervisor.is_running()
        assert children_of(home) == []


def test_a_second_demonstration_uses_the_service_of_the_first(home: Path) -> None:
    with start(home) as first:
        wait_for_line(first, "serving until Ctrl-C")
        output = run_once(home)
        assert "a demonstration already runs in this home: using it" in output
        assert first.poll() is None
        os.kill(first.pid, signal.SIGINT)
        first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 0
    assert children_of(home) == []
