"""A receiver of notifications on loopback, which keeps what it hears and answers as it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qsl

#: Content type and body of a notification, to status and body of the answer.
Answerer = Callable[[str, bytes], tuple[int, bytes]]


class Ear:
    """What was heard, and where."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/callbacks/shop"
        self.heard: list[bytes] = []


@contextmanager
def ear(answer: Answerer, port: int = 0) -> Iterator[Ear]:
    """Listens, and answers every POST by ``answer``, each in a thread of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            one.heard.append(body)
            status, said = answer(self.headers["Content-Type"], body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """What was heard is kept; that is enough."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    one = Ear(server.server_port)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def always(body: bytes, status: int = 200) -> Answerer:
    return lambda _type, _body: (status, body)


def form_of(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode(), strict_parsing=True))
