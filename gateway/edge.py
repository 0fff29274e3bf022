"""What every request passes first: bounds of size, time and number, before anything is parsed."""

import asyncio
import time
import traceback
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import RETRY_AFTER_S, Problem, fault

_log = structlog.get_logger(__name__)

#: ``items`` and ``extra`` may have 64 KiB each (see ``refundry.fields``).
MAX_BODY: Final = 128 * 1024
#: The longest notification on a provider's page is some 4 KiB.
MAX_CALLBACK: Final = 64 * 1024
#: A body that has not come by then is not coming; a slow one holds its place no longer.
BODY_TIMEOUT_S: Final = 10.0
#: Requests at once: with bodies of the greatest size they take 25 MiB.
MAX_AT_ONCE: Final = 200
#: It must answer whatever else goes on.
_HEALTH: Final = "/health"

_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_CLOSE: Final = {"Connection": "close"}


class Edge:
    """Reads the whole body within its bounds, then hands the request on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._now = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Routed as it came: a slash within a number is %2F.
        scope["path"] = scope["raw_path"].decode("ascii")
        answer = _Answer(scope, send)
        self._now += 1
        try:
            await self._serve(scope, receive, answer)
        except Problem as problem:
            await problem.response()(scope, receive, answer)
        except Exception as error:
            await _say_fault(error, scope, receive, answer)
        finally:
            self._now -= 1
            answer.log()

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        if self._now > MAX_AT_ONCE and scope["path"] != _HEALTH:
            headers = {"Retry-After": str(RETRY_AFTER_S)} | _CLOSE
            raise Problem(503, "busy_service", "too many requests at once", headers=headers)
        body = await _read(scope, receive)
        await self._app(scope, _Replay(body, receive), answer)


class _Answer:
    """Passes an answer on, with the headers that every answer has; remembers its status."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._began = time.monotonic()
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message).update(_HEADERS)
        await self._send(message)

    def log(self) -> None:
        """One line; the route stands for the path, which may name people's refunds."""
        route = getattr(self._scope.get("route"), "path", None)
        took_ms = round((time.monotonic() - self._began) * 1000)
        _log.info(
            "gateway.request",
            method=self._scope["method"][:16],
            route=route,
            status=self.status,
            took_ms=took_ms,
        )


class _Replay:
    """Gives the application the body that was read, then waits for the end of the connection."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _read(scope: Scope, receive: Receive) -> bytes:
    headers = Headers(scope=scope)
    most = MAX_CALLBACK if scope["path"].startswith("/callbacks/") else MAX_BODY
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "encoded", "send the body as it is: no Content-Encoding", headers=_CLOSE)
    if "content-length" in headers and "transfer-encoding" in headers:
        # A proxy in front may have gone by the other one: where the next request begins is open.
        detail = "give Content-Length or Transfer-Encoding, not both"
        raise Problem(400, "two_lengths", detail, headers=_CLOSE)
    length = headers.get("content-length", "0")
    if len(length) > 18 or int(length) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await _collect(receive, most)
    except TimeoutError:
        detail = f"the body did not come within {BODY_TIMEOUT_S:g} s"
        raise Problem(408, "too_slow", detail, headers=_CLOSE) from None


async def _collect(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "disconnected", "the connection ended within the body")
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(most: int) -> Problem:
    return Problem(413, "too_large", f"the body may have {most} bytes", headers=_CLOSE)


async def _say_fault(error: Exception, scope: Scope, receive: Receive, answer: _Answer) -> None:
    """The log gets no message of the error: it may hold a part of what was sent."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    _log.error("gateway.fault", kind=type(error).__name__, trace=trace)
    if not answer.status:
        await fault().response()(scope, receive, answer)
