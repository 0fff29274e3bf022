"""Connections with a total time bound and a gate before the first byte.

``requests`` bounds each look-up, connect and read by itself, but not their sum, and it cannot say
whether an exception came before or after the first byte. These classes, hung below its adapter,
do both: every wait is cut to what is left of the call's :class:`Budget`, and the budget notes the
moment from which something may have been sent.
"""

import io
import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any, cast

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class Budget:
    """The time of one call, and whether its first byte may have gone."""

    def __init__(
        self,
        connect_s: float,
        read_s: float,
        total_s: float,
        gate: Callable[[], None],
        allows: Callable[[str], bool],
    ) -> None:
        self._connect_s = connect_s
        self._read_s = read_s
        self._ends_at = time.monotonic() + total_s
        self._gate = gate
        #: The provider was reached; what stops the call from here on is our own doing.
        self.reached = False
        #: Whether an address may be connected to.
        self.allows = allows
        #: From here on something may have been sent.
        self.sending = False

    def left(self) -> float:
        """Seconds left of the whole call.

        Raises:
            TimeoutError: none are.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the call's total time is used up")
        return left

    def connect_deadline(self) -> float:
        """When look-up, connect and TLS must be done, by the monotonic clock."""
        return time.monotonic() + min(self._connect_s, self.left())

    def read_timeout(self) -> float:
        """How long the next read may wait."""
        return min(self._read_s, self.left())

    def open_gate(self) -> None:
        """Ask for the last time whether to send; from now on it may have been sent."""
        self.reached = True
        self._gate()
        self.left()
        self.sending = True


#: The budget of the call that this thread is making.
current_budget: ContextVar[Budget] = ContextVar("current_budget")


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(host: str, port: int, deadline: float) -> list[tuple[Any, ...]]:
    """Resolve a name; the system's resolver knows no time bound, so a thread waits for it."""
    if _is_numeric(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # not a SimpleQueue, whose get may outlast its timeout in CPython 3.11
    found: queue.Queue[list[tuple[Any, ...]] | OSError] = queue.Queue()

    def resolve() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.put(error)

    threading.Thread(target=resolve, daemon=True).start()
    try:
        result = found.get(timeout=max(deadline - time.monotonic(), 0.001))
    except queue.Empty:
        raise TimeoutError(f"looking up {host} took too long") from None
    if isinstance(result, OSError):
        raise result
    return result


def _connect(host: str, port: int, budget: Budget) -> socket.socket:
    """Connect to the first allowed address that answers; all of them share the deadline.

    What is checked is the address that is then connected to: a second look-up could differ.
    """
    deadline = budget.connect_deadline()
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in _look_up(host, port, deadline):
        if not budget.allows(address[0]):
            failure = PermissionError(f"{host} has the address {address[0]}, which is not allowed")
            continue
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            return connection
    raise failure


class _BoundedReader(io.RawIOBase):
    """Reads from a socket, never waiting longer than the budget has left."""

    def __init__(self, connection: socket.socket, budget: Budget) -> None:
        self._connection = connection
        self._raw = connection.makefile("rb", buffering=0)
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(self._budget.read_timeout())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedSocket:
    """What ``http.client`` asks of a socket that it reads an answer from."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self._connection, current_budget.get()))


class _BoundedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(cast(socket.socket, _BoundedSocket(sock)), *args, **kwargs)


class _Gated(HTTPConnection):
    """Connects within the budget, asks the gate, and only then writes."""

    response_class = _BoundedResponse

    def _new_conn(self) -> socket.socket:
        return _connect(self.host, self.port, current_budget.get())

    def request(self, *args: Any, **kwargs: Any) -> None:
        budget = current_budget.get()
        if self.sock is None:
            self.connect()
        budget.open_gate()
        self.timeout = budget.left()  # what urllib3 bounds the sending with
        super().request(*args, **kwargs)


class _GatedHttps(_Gated, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Gated


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _GatedHttps


class BoundedAdapter(HTTPAdapter):
    """A ``requests`` adapter whose connections obey :data:`current_budget`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
