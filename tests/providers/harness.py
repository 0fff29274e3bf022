"""What the tests of providers share: raw socket servers, accounts, refunds to send."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from hypothesis import HealthCheck, settings

from config.accounts import Account
from simulator.providers.baofu_envelope import Merchant
from simulator.providers.baofu_envelope import signature as baofu_signature
from simulator.providers.hkrt import signature
from tests.simulator.harness import BAOFU_KEYS
from worker.errors import NoAnswer
from worker.providers.base import Provider, RefundFacts
from worker.providers.http import Answer, Call, Wire
from worker.refund import Outcome

#: Nothing a server waits for takes longer, in seconds; a test that fails does not hang.
PATIENCE_S = 10.0
GOLDEN = Path(__file__).parent / "golden"
#: The access key of the documents' signature checks.
KEY = "123456789ABCDEF"
#: What a provider's golden file holds, by provider.
FILES: Final[dict[str, dict[str, Any]]] = {
    path.stem: json.loads(path.read_text("utf-8")) for path in sorted(GOLDEN.glob("*.json"))
}


def _settings(block: dict[str, Any]) -> dict[str, Any]:
    """A golden file's block of settings; its ``file:`` paths are relative to this folder."""
    return {
        name: f"file:{GOLDEN.parent / value[5:]}" if str(value).startswith("file:") else value
        for name, value in block.items()
    }


#: Every provider's own settings.
OWN_OPTIONS: Final = {name: _settings(file["account"]) for name, file in FILES.items()}
#: A whole answer.
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def examples(number: int) -> settings:
    """So many examples of a property, however slow the machine."""
    slow = [HealthCheck.too_slow]
    return settings(max_examples=number, deadline=None, suppress_health_check=slow)


def account(
    provider: str = "quickpay", base_url: str = "http://127.0.0.1:1", **more: Any
) -> Account:
    """An account whose waits are short enough for tests, with the provider's own options."""
    waits = {"connect_timeout_s": 5.0, "read_timeout_s": 5.0, "total_timeout_s": 8.0}
    own = OWN_OPTIONS.get(provider, {})
    values = {"name": "main", "provider": provider, "base_url": base_url, **waits, **own, **more}
    return Account.model_validate(values)


def facts(**more: Any) -> RefundFacts:
    """A refund of 0.50 yuan of an order of 1.00 yuan."""
    values: dict[str, Any] = {
        "order_no": "ORDER0001",
        "refund_no": "REFUND0001",
        "amount": 50,
        "marketing_amount": 0,
        "order_amount": 100,
        "paid_amount": 100,
        "paid_at": None,
        "reason": "",
        "operator": "",
        "items": [],
        "extra": {},
        "provider_refund_no": None,
    }
    values |= more
    if isinstance(values["paid_at"], str):
        values["paid_at"] = datetime.fromisoformat(values["paid_at"])
    return RefundFacts(**values)


class Peer:
    """The server's end of one connection."""

    def __init__(self, server: RawServer, connection: socket.socket) -> None:
        self.server = server
        self.connection = connection

    def request(self) -> bytes:
        """The next whole request; what came, if the client left before."""
        data = self.server.receive(self.connection)
        if data:
            self.server.requests.append(data)
        return data

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def drip(self, data: bytes, every_s: float = 0.05) -> None:
        """A byte at a time, until the client leaves or the server ends."""
        for byte in data:
            self.send(bytes([byte]))
            if self.server.ending.wait(every_s):
                return

    def reset(self) -> None:
        """A TCP reset: closing with a linger of zero sends RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def await_leaving(self) -> bytes:
        """Everything until the client leaves."""
        with suppress(ConnectionError):
            return b"".join(iter(lambda: self.connection.recv(65536), b""))
        return b""


class RawServer:
    """A server without an HTTP library; each connection is one call of ``talk`` in a thread."""

    def __init__(self, talk: Callable[[Peer], None], tls: ssl.SSLContext | None = None) -> None:
        self._talk, self._tls = talk, tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        #: Whole requests, in order of arrival.
        self.requests: list[bytes] = []
        #: A client has connected, and TLS is done where there is any.
        self.connected = threading.Event()
        #: ``talk`` is over on some connection.
        self.talked = threading.Event()
        self.ending = threading.Event()
        self.connections = 0
        scheme = "https" if tls else "http"
        self.port = self._listener.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def receive(self, connection: socket.socket) -> bytes:
        """Reads up to the end that Content-Length gives."""
        data = b""
        with suppress(ConnectionError):
            while not _whole(data) and (piece := connection.recv(65536)):
                data += piece
        return data

    def __enter__(self) -> Self:
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a connection's thread does not end"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        with suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.append(connection)
            self.connected.set()
            self._talk(Peer(self, connection))
        connection.close()
        self.talked.set()


def _whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    return bool(end) and len(body) >= int(length or 0)


def answering(answer: bytes) -> Callable[[Peer], None]:
    """A talk that answers every request of a kept connection with the same bytes."""

    def talk(peer: Peer) -> None:
        while peer.request():
            peer.send(answer)

    return talk


def once(answer: bytes) -> Callable[[Peer], None]:
    """A talk that answers one request and closes."""

    def talk(peer: Peer) -> None:
        peer.request()
        peer.send(answer)

    return talk


def call_to(url: str, body: bytes = b'{"a":1}', **headers: str) -> Call:
    """A call as a provider builds it."""
    return Call(
        url=f"{url}/pay", body=body, headers={"Content-Type": "application/json", **headers}
    )


@contextmanager
def wire_to(url: str, **more: Any) -> Iterator[Wire]:
    """An account's connections to a server."""
    wire = Wire(account(base_url=url, **more))
    try:
        yield wire
    finally:
        wire.close()


@contextmanager
def full_backlog(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port whose backlog is full, so that a connection is neither taken nor refused."""
    with socket.create_server((host, port), backlog=0) as listener, ExitStack() as fillers:
        port = listener.getsockname()[1]
        for _ in range(4):  # a backlog of 0 holds one connection
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((host, port))
        yield port


def make_certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """A self-signed certificate for an address, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=refundry test"]
    command += ["-addext", f"subjectAltName=IP:{address}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def hkrt_signed(text: str, key: str = KEY) -> bytes:
    """A JSON object with the signature of its values as they are written.

    The simulator's signature is used, which was written from the documents apart from ours.
    """
    fields = json.loads(text, parse_int=str, parse_float=str)
    fields.pop("sign", None)
    end = text.rstrip().removesuffix("}").rstrip()
    comma = "," if fields else ""
    return f'{end}{comma}"sign":"{signature(fields, key)}"}}'.encode()


#: Baofu's half of the keys, as the simulator holds it.
BAOFU: Final = Merchant.from_pem(
    ter_id="100001",
    public_pem=(BAOFU_KEYS / "merchant.pub.pem").read_bytes(),
    private_pem=(BAOFU_KEYS / "baofu.pem").read_bytes(),
)


def baofu_signed(text: str) -> bytes:
    """An envelope around a dataContent, signed as the simulator signs."""
    envelope = {"returnCode": "SUCCESS", "returnMsg": "OK", "dataContent": text}
    envelope["signStr"] = baofu_signature(BAOFU.private_key, text)
    return json.dumps(envelope, ensure_ascii=False).encode()


def read_both(provider: Provider, refund: RefundFacts, answer: Answer) -> list[Outcome | None]:
    """What one answer shows, read as that to a submission and to a question; None: no answer."""
    outcomes: list[Outcome | None] = []
    for read in (provider.read_submission, provider.read_reply):
        try:
            outcomes.append(read(refund, answer))
        except NoAnswer:
            outcomes.append(None)
    return outcomes
