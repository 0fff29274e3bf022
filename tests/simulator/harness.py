"""What the tests of the simulator share: a real process, asked over real sockets."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from simulator.providers.hkrt import signature

KEY = "123456789ABCDEF"
ROOT = Path(__file__).parents[2]
#: An application of Guanaitong, and its secret.
APPID, GAT_SECRET = "10000001", "SECRET-OF-GUANAITONG"
#: Keys of the tests alone, both halves of both sides.
BAOFU_KEYS = ROOT / "tests" / "providers" / "keys"
MERCHANTS = {
    "hkrt": {"cpostest": {"access_key": KEY}},
    "quickpay": {},
    "baofu": {
        "100000": {
            "ter_id": "100001",
            "public_key_file": str(BAOFU_KEYS / "merchant.pub.pem"),
            "private_key_file": str(BAOFU_KEYS / "baofu.pem"),
        }
    },
    "guanaitong": {
        APPID: {"appsecret": GAT_SECRET, "tokens_an_hour": 100_000},
        #: As many tokens as at the real one, which live for two seconds.
        f"{APPID}9": {"appsecret": GAT_SECRET, "token_life_s": 2},
    },
}
#: The fields of ``RefundResultInfo`` in the example of seed 000.
PAGE_FIELDS = {
    "transaction_status",
    "error",
    "store_no",
    "paytype",
    "total_amount",
    "refund_amount",
    "settlement_amount",
    "cash_amount",
    "coupon_amount",
    "order_no",
    "refund_order_no",
    "operator",
    "transaction_no",
    "refund_transaction_no",
    "refund_desc",
    "refund_transaction_time",
    "transaction_message",
}


class Sim:
    """One simulator process and the few calls the tests make."""

    def __init__(self, home: Path, seed: int = 7) -> None:
        self.home = home
        merchants = home.with_suffix(".merchants.json")
        merchants.write_text(json.dumps(MERCHANTS))
        self.process = subprocess.Popen(
            [*command(home, merchants), "--seed", str(seed)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        word, self.url = self.process.stdout.readline().decode().split()
        assert word == "ready"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it; its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def control(self, path: str, message: Any) -> Any:
        answer = requests.post(f"{self.url}/_sim/{path}", json=message, timeout=5)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def plan(self, provider: str, refund: str, **plan: Any) -> None:
        self.control("plan", [{"provider": provider, "refund": refund, **plan}])

    def book(self, **wanted: str) -> Any:
        return requests.get(f"{self.url}/_sim/book", params=wanted, timeout=5).json()

    def entry(self, refund: str) -> Any:
        (entry,) = self.book(refund=refund)
        return entry

    def log(self, **wanted: Any) -> list[Any]:
        lines = (self.home / "log.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        return [e for e in events if all(e.get(k) == v for k, v in wanted.items())]

    def await_log(self, **wanted: Any) -> Any:
        """The first such event, as soon as it is there."""
        return await_true(lambda: self.log(**wanted))[0]

    def post(self, path: str, body: Any, timeout: float = 5) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=timeout, allow_redirects=False)

    def quick(self, refund: str, amount: int = 30, timeout: float = 5, **more: Any) -> Any:
        return self.post("/qp/QuickPay/Refund", quick_body(refund, amount, **more), timeout)

    def quick_query(self, refund: str, order: str = "") -> Any:
        body = {"store_no": "S1", "order_no": order or f"O{refund}", "refund_order_no": refund}
        return self.post("/qp/QuickPay/RefundQuery", body).json()

    def hkrt(self, refund: str, amount: str = "0.50", **more: Any) -> Any:
        body = {"out_refund_no": refund, "out_trade_no": f"O{refund}", "refund_amount": amount}
        return self.post("/hk/api/v1/pay/wx/refund", signed(body | more)).json()

    def hkrt_query(self, **names: str) -> Any:
        return self.post("/hk/api/v1/pay/wx/refundquery", signed(names)).json()


def command(home: Path, merchants: Path) -> list[str]:
    start = [sys.executable, "-m", "simulator", "--port", "0"]
    return [*start, "--home", str(home), "--merchants", str(merchants)]


def quick_body(refund: str, amount: int = 30, **more: Any) -> dict[str, Any]:
    body = {"store_no": "S1", "operator": "ops", "amount": 100, "order_no": f"O{refund}"}
    return body | {"refund_no": refund, "refund_amount": amount} | more


def signed(body: dict[str, Any], key: str = KEY) -> dict[str, Any]:
    body = {"accessid": "cpostest", **body}
    return body | {"sign": signature(body, key)}


def await_true(condition: Callable[[], Any], patience_s: float = 10) -> Any:
    """What the condition gives as soon as it is true; fails after ``patience_s``."""
    end = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        threading.Event().wait(0.01)
    return value


def raw_submit(sim: Sim, refund: str, timeout: float = 5) -> socket.socket:
    """A connection on which a quickpay submit was sent."""
    body = json.dumps(quick_body(refund)).encode()
    address = urlsplit(sim.url)
    connection = socket.create_connection((str(address.hostname), int(address.port or 0)), timeout)
    head = "POST /qp/QuickPay/Refund HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def read_all(connection: socket.socket) -> bytes:
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def raw_answer(sim: Sim, refund: str, fault: str) -> tuple[bytes, bytes]:
    """Head and body of the answer that a fault spoils, as they came until the end."""
    sim.plan("quickpay", refund, submit=[fault])
    head, _, body = read_all(raw_submit(sim, refund)).partition(b"\r\n\r\n")
    return head, body


def state_on_wire(answer: Any) -> str:
    return str(answer["data"]["transaction_status"])
