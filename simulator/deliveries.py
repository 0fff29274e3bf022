"""How an answer travels or is lost, each written on the connection itself."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache

from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler

from simulator.providers.base import Answer

#: The longest a client is left waiting, in seconds.
SILENCE_S = 120
#: Between two bytes of a dripping answer, in seconds.
DRIP_S = 0.3
OVERSIZED_BYTES = 5_000_000
BOMB_BYTES = 50_000_000
#: Deliveries during which the request counts as being handled until the client leaves.
HELD = frozenset({"timeout", "drip", "drip_headers"})
#: Where ``redirect`` points, followed by the path that was asked.
REDIRECTED = "/_sim/redirected"
GARBAGE = Answer(body="<html><body>系统繁忙</body></html>".encode(), content_type="text/html")
_REASONS = {200: "OK", 307: "Temporary Redirect", 404: "Not Found", 500: "Internal Server Error"}


class Line:
    """The connection a request came on."""

    def __init__(self, handler: RequestHandler) -> None:
        self._handler = handler
        self.path = handler.request.path

    async def answer(self, answer: Answer) -> None:
        """Answers as an honest server does and keeps the connection."""
        self._handler.set_status(answer.status)
        self._handler.set_header("Content-Type", answer.content_type)
        with suppress(StreamClosedError):
            await self._handler.finish(answer.body)

    def take(self) -> IOStream:
        """The bare connection, to write on by hand."""
        return self._handler.detach()


async def deliver(delivery: str, line: Line, answer: Answer) -> None:
    """Sends or loses the answer; a client that left is not waited for."""
    with suppress(StreamClosedError):
        await _DELIVERIES.get(delivery, _plain)(line, answer)


async def _plain(line: Line, answer: Answer) -> None:
    await line.answer(answer)


async def _garbage(line: Line, answer: Answer) -> None:
    await line.answer(GARBAGE)


async def _http_500(line: Line, answer: Answer) -> None:
    await line.answer(Answer(body=b"Internal Server Error", status=500, content_type="text/plain"))


async def _http_404(line: Line, answer: Answer) -> None:
    await line.answer(Answer(body=b"Not Found", status=404, content_type="text/plain"))


async def _silence(line: Line, answer: Answer) -> None:
    """Not a byte until the client leaves."""
    stream = line.take()
    await _left_within(stream, SILENCE_S)
    stream.close()


async def _reset(line: Line, answer: Answer) -> None:
    """A TCP reset: closing with a linger of zero sends RST instead of FIN."""
    stream = line.take()
    if not stream.closed():
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


async def _truncated(line: Line, answer: Answer) -> None:
    half = answer.body[: len(answer.body) // 2]
    await _write(line, _head(answer, len(answer.body)) + half)


async def _headers_cut(line: Line, answer: Answer) -> None:
    head = _head(answer, len(answer.body))
    await _write(line, head[: len(head) - 20])


async def _drip(line: Line, answer: Answer) -> None:
    await _write_slowly(line, _head(answer, len(answer.body)), answer.body)


async def _drip_headers(line: Line, answer: Answer) -> None:
    await _write_slowly(line, b"", _head(answer, len(answer.body)) + answer.body)


async def _oversized(line: Line, answer: Answer) -> None:
    """The rightful JSON, rightly signed, after megabytes of white space."""
    body = answer.body.rjust(OVERSIZED_BYTES)
    await _write(line, _head(answer, len(body)) + body)


async def _gzip_bomb(line: Line, answer: Answer) -> None:
    """The rightful JSON after white space that takes 1/1000 of its size on the wire."""
    start, packer = _packed_spaces()
    packer = packer.copy()
    body = start + packer.compress(answer.body) + packer.flush()
    await _write(line, _head(answer, len(body), "Content-Encoding: gzip\r\n") + body)


async def _redirect(line: Line, answer: Answer) -> None:
    body = json.dumps({"moved": True}).encode()
    moved = Answer(body=body, status=307)
    location = f"Location: {REDIRECTED}{line.path}\r\n"
    await _write(line, _head(moved, len(body), location) + body)


_DELIVERIES: dict[str, Callable[[Line, Answer], Awaitable[None]]] = {
    "garbage": _garbage,
    "http_500": _http_500,
    "http_404": _http_404,
    "timeout": _silence,
    "reset": _reset,
    "truncated": _truncated,
    "headers_cut": _headers_cut,
    "drip": _drip,
    "drip_headers": _drip_headers,
    "oversized": _oversized,
    "gzip_bomb": _gzip_bomb,
    "redirect": _redirect,
}


@cache
def _packed_spaces() -> tuple[bytes, zlib._Compress]:
    """The start of a gzip body of white space, and the packer that can go on from there."""
    packer = zlib.compressobj(level=1, wbits=31)
    return packer.compress(b" " * BOMB_BYTES), packer


def _head(answer: Answer, length: int, more: str = "") -> bytes:
    lines = (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
        f"Content-Type: {answer.content_type}\r\n{more}"
        f"Connection: close\r\nContent-Length: {length}\r\n\r\n"
    )
    return lines.encode()


async def _write(line: Line, data: bytes) -> None:
    stream = line.take()
    await stream.write(data)
    stream.close()


async def _write_slowly(line: Line, at_once: bytes, slowly: bytes) -> None:
    stream = line.take()
    await stream.write(at_once)
    for byte in slowly:
        await stream.write(bytes([byte]))
        await _left_within(stream, DRIP_S)
    stream.close()


async def _left_within(stream: IOStream, seconds: float) -> None:
    """Waits that long, or until the client leaves."""
    gone = asyncio.Event()
    stream.set_close_callback(gone.set)
    if not stream.closed():
        with suppress(TimeoutError):
            await asyncio.wait_for(gone.wait(), seconds)
