"""A worker started by hand says what is wrong with its set-up and does not start."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from celery import Celery

from tests.e2e.service import clean_environment, eventually
from tests.e2e.stack import ROOT

OURS = ("tasks", "worker")
CELERYS = ("celery", "-A", "worker.app", "worker")
HKRT = """
[accounts.shop]
provider = "hkrt"
base_url = "https://pay.example.com"
access_id = "cpostest"
access_key = "{key}"
total_timeout_s = {total}
"""


either_way = pytest.mark.parametrize("module", [OURS, CELERYS])


@either_way
@pytest.mark.parametrize(
    ("key", "total", "said"),
    [
        ("env:NOT_SET", 20, "the environment variable NOT_SET is not set"),
        ("key", 140, "it must stay below 150 s"),
    ],
)
def test_a_worker_with_wrong_accounts_does_not_start(
    tmp_path: Path, module: tuple[str, ...], key: str, total: int, said: str
) -> None:
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(HKRT.format(key=key, total=total))
    done = start_worker(accounts, module)
    assert done.returncode == 1
    assert said in done.stderr


@either_way
def test_a_worker_whose_accounts_are_missing_does_not_start_and_refuse_every_job(
    tmp_path: Path, module: tuple[str, ...]
) -> None:
    done = start_worker(tmp_path / "acounts.toml", module)
    assert done.returncode == 1
    assert f"REFUNDRY_ACCOUNTS: there is no {tmp_path / 'acounts.toml'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_broker_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    environment = {**clean_environment(), "REFUNDRY_HOME": str(tmp_path)}
    command = [sys.executable, "-m", *OURS]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("refundry: no broker: start one with `refundry up`")
    assert "Traceback" not in done.stderr


@either_way
def test_a_ledger_that_is_away_is_a_line_a_task_and_no_traceback(
    tmp_path: Path, valkey: str, module: tuple[str, ...]
) -> None:
    broker = f"{valkey.removesuffix('/0')}/9"
    (tmp_path / "accounts.toml").write_text(HKRT.format(key="key", total=20))
    environment = environment_of(tmp_path / "accounts.toml", broker)
    environment["REFUNDRY_DATABASE_URL"] = "postgresql://refundry@127.0.0.1:1/refundry"
    log = tmp_path / "worker.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", *module]
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
    try:
        with Celery("producer", broker=broker) as producer:
            producer.send_task("refunds.sweep", queue="refunds.poll")
            producer.send_task("refunds.request", kwargs={}, queue="refunds.intake")
        for said in ("task.service_away", "intake.put_back"):
            eventually(partial(contains, log, said), said)
    finally:
        worker.terminate()
        worker.wait(60)
    lines = log.read_text().splitlines()
    assert any("task.service_away" in line and "Connection refused" in line for line in lines)
    assert [line for line in lines if "Traceback" in line] == []


def contains(log: Path, words: str) -> bool:
    return words in log.read_text()


def environment_of(accounts: Path, broker: str) -> dict[str, str]:
    return {
        **clean_environment(),
        "REFUNDRY_HOME": str(accounts.parent),
        "REFUNDRY_BROKER_URL": broker,
        "REFUNDRY_ACCOUNTS": str(accounts),
    }


def start_worker(accounts: Path, module: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    environment = environment_of(accounts, "redis://127.0.0.1:1/0")
    return subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
