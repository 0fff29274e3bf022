"""The HTTP server: Tornado's routes, and its life from start to signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from simulator import bank, control, notices
from simulator.calls import handle
from simulator.deliveries import Line
from simulator.providers.base import NoSuchPathError, Provider, RawCall
from simulator.world import World

HOST = "127.0.0.1"
#: Connections the kernel holds for us while the loop is busy.
BACKLOG = 1024


class ProviderHandler(RequestHandler):
    """Hands every POST below a provider's prefix to that provider."""

    def initialize(self, world: World, provider: Provider) -> None:
        self.world = world
        self.provider = provider

    async def post(self, path: str) -> None:
        request = self.request
        content_type = request.headers.get("Content-Type", "")
        raw = RawCall(path=path, content_type=content_type, body=request.body, query=request.query)
        try:
            await handle(self.world, self.provider, raw, Line(self))
        except NoSuchPathError:
            raise HTTPError(404) from None


def make_app(world: World) -> Application:
    """The control surface and every provider."""
    providers = [
        (f"{provider.prefix}(/.*)", ProviderHandler, {"world": world, "provider": provider})
        for provider in world.providers.values()
    ]
    return Application([*control.routes(world), *providers], log_function=_no_access_log)


async def serve(world: World, port: int, announce: Callable[[str], None]) -> None:
    """Serves on 127.0.0.1 until SIGTERM or SIGINT; announces where, once it answers."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sockets = bind_sockets(port, HOST, backlog=BACKLOG)
    server = HTTPServer(make_app(world))
    server.add_sockets(sockets)
    resume(world)
    announce(f"ready http://{HOST}:{sockets[0].getsockname()[1]}")
    await stop.wait()
    server.stop()
    await server.close_all_connections()  # so that nobody reads our end as an answer of theirs


def resume(world: World) -> None:
    """What was to happen by itself when the simulator ended happens now, or at its time."""
    AsyncHTTPClient.configure(None, max_clients=notices.AT_ONCE)
    for notice in world.book.open_notices():
        world.start(notices.deliver(world, notice))
    for record in world.book.records():
        last = world.book.last_notice(record)
        if record.state != "pending" and (last is None or last.state != record.state):
            notices.tell(world, record)  # killed between the two
        elif record.state == "pending" and record.settles_at is not None:
            world.start(bank.settle_in_time(world, record))


def _no_access_log(_: RequestHandler) -> None:
    """The log of events says more."""
