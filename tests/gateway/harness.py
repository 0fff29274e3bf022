"""A gateway of a test's own: a real process on loopback, around a ledger of its own."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import requests

from tests.e2e.service import clean_environment, eventually
from worker.ledger.engine import Ledger
from worker.steps.api_tokens import create_token
from worker.supervisor.ports import find_free_port

ACCOUNTS: Final = """
[accounts.shop]
provider = "quickpay"
base_url = "http://127.0.0.1:9/qp"
store_no = "S1"
operator = "ops"
merchant = "one"

[accounts.till]
provider = "quickpay"
base_url = "http://127.0.0.1:9/qp"
store_no = "S2"
operator = "ops"
merchant = "two"

[accounts.hk]
provider = "hkrt"
base_url = "http://127.0.0.1:9/hk"
access_id = "cpostest"
access_key = "123456789ABCDEF"

[accounts.ga]
provider = "guanaitong"
base_url = "http://127.0.0.1:9/gat"
appid = "10000001"
appsecret = "s"
"""
KNOWN: Final = ("shop", "till", "hk", "ga")
PATIENCE_S: Final = 30.0


class Gateway:
    """``python -m gateway`` as a child process; leaving the context ends it."""

    def __init__(self, folder: Path, ledger: Ledger, redis_url: str, **environment: str) -> None:
        self.folder = folder
        self.ledger = ledger
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "accounts.toml").write_text(ACCOUNTS)
        self._environment = {
            **clean_environment(),
            "REFUNDRY_HOME": str(folder),
            "REFUNDRY_BROKER_URL": redis_url,
            "REFUNDRY_DATABASE_URL": ledger.engine.url.render_as_string(hide_password=False),
            "REFUNDRY_ACCOUNTS": str(folder / "accounts.toml"),
            "REFUNDRY_GATEWAY_PORT": str(self.port),
            "REFUNDRY_GATEWAY_RATE_LIMIT": "100000/minute",
            **environment,
        }
        self.headers = {"Authorization": f"Bearer {self.token('usual', '*')}"}

    def token(self, name: str, *accounts: str) -> str:
        return create_token(self.ledger, f"{name}.{time.time_ns()}", accounts, KNOWN)

    def log(self) -> str:
        """What it wrote so far."""
        return (self.folder / "gateway.log").read_text()

    def __enter__(self) -> Self:
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway"],
                env=self._environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, "the gateway answers")
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            return requests.get(f"{self.url}/health", timeout=PATIENCE_S).ok
        except requests.ConnectionError:
            return False

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def call(self, method: str, path: str, token: str | None = None, **how: Any) -> Any:
        """Any request, by the token for every account where no other is given."""
        headers = self.headers if token is None else {"Authorization": f"Bearer {token}"}
        headers = headers | how.pop("headers", {})
        timeout = how.pop("timeout", PATIENCE_S)
        url = self.url + path
        return requests.request(method, url, headers=headers, timeout=timeout, **how)

    def get(self, path: str, token: str | None = None, **how: Any) -> Any:
        return self.call("GET", path, token, **how)

    def post(self, path: str, body: Any = None, token: str | None = None, **how: Any) -> Any:
        return self.call("POST", path, token, json=body, **how)

    def raw(self, *parts: bytes) -> bytes:
        """Send bytes as they are; what comes back until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            for part in parts:
                connection.sendall(part)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    found = b""
    try:
        while received := connection.recv(65_536):
            found += received
    except ConnectionResetError:
        return found  # it did not read all that we sent
    return found


def job(**changed: Any) -> dict[str, Any]:
    """A refund of 10 fen."""
    usual = {
        "account": "shop",
        "order_no": "O1",
        "refund_no": "R1",
        "amount": 10,
        "order_amount": 100,
    }
    return usual | changed


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem that an answer must be."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (
        status,
        "application/problem+json",
    ), answer.text
    found: dict[str, Any] = json.loads(answer.text)
    assert found["code"] == code, found
    assert found["status"] == status
    assert found["type"] == f"urn:refundry:problem:{code}"
    assert found["title"]
    assert found["detail"]
    assert all(said.isprintable() for said in (found["detail"], *found.get("problems", ())))
    assert "Traceback" not in answer.text
    return found
