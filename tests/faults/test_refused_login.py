"""A broker that refuses the login (its password was changed) raises no error of Celery's own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from refundry import RefundClient, RefundRequest, SendFailed
from tests.databases import migrated
from tests.e2e.service import clean_environment
from tests.e2e.stack import ROOT
from tests.faults.servers import RabbitServer
from worker.ledger import reports

JOB = {"account": "qp", "order_no": "O1", "refund_no": "R1", "amount": 100, "order_amount": 1000}
ACCOUNT = """[accounts.qp]
provider = "quickpay"
base_url = "http://127.0.0.1:9/qp"
store_no = "S1"
operator = "ops"
rate_limit = "10/second"
"""
#: What a worker does with the job, its broker being what it is. The limit keeps the job from being
#: sent at once.
TAKE = "import json, sys; from tasks.intake import request; request(**json.loads(sys.argv[1]))"


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a broker that refuses the login."""
    with RabbitServer(tmp_path_factory.mktemp("refusing") / "rabbit") as server:
        yield server.url.replace("guest:guest", "guest:wrong")


def test_the_client_says_that_nothing_was_sent(refusing: str) -> None:
    with RefundClient(refusing) as client, pytest.raises(SendFailed, match="ACCESS_REFUSED"):
        client.request(RefundRequest.read(JOB))


def test_a_refund_that_was_taken_is_not_refused_because_no_worker_could_be_woken(
    refusing: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    (tmp_path / "accounts.toml").write_text(ACCOUNT)
    environment = clean_environment() | {
        "REFUNDRY_ACCOUNTS": str(tmp_path / "accounts.toml"),
        "REFUNDRY_BROKER_URL": refusing,
        "REFUNDRY_DATABASE_URL": url,
        "REFUNDRY_REDIS_URL": "redis://127.0.0.1:9/0",
    }
    with migrated(url) as ledger:
        done = subprocess.run(
            [sys.executable, "-c", TAKE, json.dumps(JOB)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "ACCESS_REFUSED" in done.stderr + done.stdout
        assert [row.refund_no for row in reports.export_rows(ledger)] == ["R1"]
        with ledger.read() as connection:
            assert reports.refused_rows(connection, 10) == []
