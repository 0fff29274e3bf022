"""A bad line: a TCP proxy before one server that cuts, delays, drips and repeats what passes.

What happens to the n-th request is a pure function of the seed and n.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self
from urllib.parse import urlsplit

from simulator.draws import chance, pick
from worker.supervisor.ports import HOST

#: How often which fault comes; the rest passes untouched.
WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "cut_before": 0.008,
        "cut_halfway": 0.006,
        "cut_after": 0.012,
        "delayed": 0.02,
        "dripped": 0.01,
        "repeated": 0.03,
    }
)
#: The longest delay of a request, in seconds: well within the deadline of the call it belongs to,
#: for a network that delivers later than any deadline is not what the protocol promises to survive.
DELAY_S: Final = 2.0
#: Between two pieces of a dripping answer, in seconds.
_DRIP_S: Final = 0.05
_PIECE: Final = 16
#: A request longer than this is none of ours, in bytes.
_LIMIT: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Misfortune:
    """What becomes of one request."""

    fault: str
    #: Of a delay, in seconds.
    delay_s: float


def misfortune(seed: int, number: int, weights: Mapping[str, float] = WEIGHTS) -> Misfortune:
    """What becomes of the request of that number."""
    fault = pick(weights, "none", chance(seed, "proxy", number))
    return Misfortune(fault=fault, delay_s=DELAY_S * chance(seed, "proxy-delay", number))


class Proxy:
    """Stands before one server as long as its context lasts; runs in a thread of its own.

    Args:
        seed: of every draw.
        weights: how often which fault comes.
        once: beginnings of paths whose requests are never repeated, for a provider that does not
            deduplicate would execute both.
    """

    def __init__(
        self, seed: int, weights: Mapping[str, float] = WEIGHTS, once: tuple[str, ...] = ()
    ) -> None:
        self._seed, self._weights, self._once = seed, weights, once
        #: How often which fault came.
        self.counts: Counter[str] = Counter()
        #: Whether it does any harm.
        self.is_bad = True
        self._number = 0
        self._repeating: set[asyncio.Task[None]] = set()
        self._target = ("", 0)
        self._listening = socket.create_server((HOST, 0), backlog=1024)
        self.port: int = self._listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy")

    def before(self, url: str) -> str:
        """Stand before the server of a URL; the URL to use instead."""
        parts = urlsplit(url)
        self._target = (str(parts.hostname), int(parts.port or 0))
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._listening.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = asyncio.start_server(self._serve, sock=self._listening, limit=_LIMIT)
        server = self._loop.run_until_complete(serving)
        self._loop.run_forever()
        server.close()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))  # they are closed in the next turn
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, with one to the server behind it."""
        try:
            from_server, to_server = await asyncio.open_connection(*self._target)
        except OSError:
            return _cut(writer)
        passage = _Passage(reader, writer, from_server, to_server)
        answers = self._loop.create_task(passage.pump_answers())
        try:
            while True:
                await self._pass_on(passage, await _read_request(reader))
        except (OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # one of the two has left, or the proxy ends
        finally:
            answers.cancel()
            to_server.close()
            writer.close()

    def _draw(self, request: bytes) -> Misfortune:
        self._number += 1
        drawn = misfortune(self._seed, self._number, self._weights if self.is_bad else {})
        path = request.split(b" ", 2)[1].decode()
        if drawn.fault == "repeated" and path.startswith(self._once):
            drawn = Misfortune(fault="none", delay_s=0.0)
        self.counts[drawn.fault] += 1
        return drawn

    async def _pass_on(self, passage: "_Passage", request: bytes) -> None:
        drawn = self._draw(request)
        passage.fault = drawn.fault
        match drawn.fault:
            case "cut_before":
                return _cut(passage.to_client)
            case "cut_halfway":
                passage.to_server.write(request[: len(request) // 2])
                await passage.to_server.drain()
                return _cut(passage.to_client)
            case "delayed":
                await asyncio.sleep(drawn.delay_s)
            case "repeated":
                self._repeating.add(self._loop.create_task(self._repeat(request, drawn.delay_s)))
        passage.to_server.write(request)
        await passage.to_server.drain()

    async def _repeat(self, request: bytes, delay_s: float) -> None:
        """The same bytes on a second connection, whose answer nobody reads."""
        await asyncio.sleep(delay_s)
        with contextlib.suppress(OSError):
            from_server, to_server = await asyncio.open_connection(*self._target)
            try:
                to_server.write(request)
                await from_server.read(1)
            finally:
                to_server.close()


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            length = int(value)
    return head + await reader.readexactly(length)


@dataclass
class _Passage:
    """A connection of a client and the one to the server that belongs to it."""

    from_client: asyncio.StreamReader
    to_client: asyncio.StreamWriter
    from_server: asyncio.StreamReader
    to_server: asyncio.StreamWriter
    #: What the request under way has drawn.
    fault: str = "none"

    async def pump_answers(self) -> None:
        """The server's bytes to the client, until the server leaves."""
        with contextlib.suppress(OSError):
            while piece := await self.from_server.read(1 << 16):
                if self.fault == "cut_after":
                    return _cut(self.to_client)
                await self._write(piece)
        self.to_client.close()

    async def _write(self, data: bytes) -> None:
        size = _PIECE if self.fault == "dripped" else len(data)
        for start in range(0, len(data), size):
            self.to_client.write(data[start : start + size])
            await self.to_client.drain()
            if self.fault == "dripped":
                await asyncio.sleep(_DRIP_S)


def _cut(writer: asyncio.StreamWriter) -> None:
    """A reset: closing with a linger of zero sends RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
