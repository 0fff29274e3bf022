"""A worker started by hand says what is wrong with its set-up and does not start."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.service import clean_environment
from tests.e2e.stack import ROOT

HKRT = """
[accounts.shop]
provider = "hkrt"
base_url = "https://pay.example.com"
access_id = "cpostest"
access_key = "{key}"
total_timeout_s = {total}
"""


@pytest.mark.parametrize(
    ("key", "total", "said"),
    [
        ("env:NOT_SET", 20, "the environment variable NOT_SET is not set"),
        ("key", 140, "it must stay below 150 s"),
    ],
)
def test_a_worker_with_wrong_accounts_does_not_start(
    tmp_path: Path, key: str, total: int, said: str
) -> None:
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(HKRT.format(key=key, total=total))
    done = start_worker(accounts)
    assert done.returncode == 1
    assert said in done.stderr


def test_a_worker_whose_accounts_are_missing_does_not_start_and_refuse_every_job(
    tmp_path: Path,
) -> None:
    done = start_worker(tmp_path / "acounts.toml")
    assert done.returncode == 1
    assert f"REFUNDRY_ACCOUNTS: there is no {tmp_path / 'acounts.toml'}" in done.stderr
    assert "Traceback" not in done.stderr


def start_worker(accounts: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **clean_environment(),
        "REFUNDRY_HOME": str(accounts.parent),
        "REFUNDRY_BROKER_URL": "redis://127.0.0.1:1/0",
        "REFUNDRY_ACCOUNTS": str(accounts),
    }
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker.app", "worker"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
