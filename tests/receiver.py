"""A producer's receiver of announcements: an HTTP server that verifies what it is told."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


class Receiver:
    """Takes announcements on loopback; each is verified before it counts."""

    def __init__(self, port: int = 0, statuses: list[int] | None = None) -> None:
        #: What the next requests are answered with; 204 when none is left.
        self.statuses = statuses or []
        #: What was told and verified, whatever it was answered with: path, id, announcement.
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}/told?token=HUNTER2"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def events(self, refund_no: str | None = None) -> list[str]:
        """What was told of a refund, or of all, in order."""
        return [told["event"] for _, _, told in self.told if refund_no in (None, told["refund_no"])]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told = Webhook(SECRET).verify(body, dict(self.headers.items()))
                receiver.told.append((self.path, self.headers["webhook-id"], told))
                status = receiver.statuses.pop(0) if receiver.statuses else 204
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://{receiver.host}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Tests read no access log."""

        return Handler
