"""The gate before the first byte, kept connections, threads, and what errors say."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.providers.harness import (
    OK,
    PATIENCE_S,
    Peer,
    RawServer,
    answering,
    call_to,
    full_backlog,
    make_certificate,
    once,
    wire_to,
)
from worker.errors import NoAnswer, NotSent, ServiceAway, Unreached
from worker.providers.http import Call


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(params=["http", "https"])
def tls(
    request: pytest.FixtureRequest,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> ssl.SSLContext | None:
    """None for plain HTTP; else what the server needs, and a client that trusts it."""
    if request.param == "http":
        return None
    return trusted(certificate, monkeypatch)


def trusted(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's TLS; its certificate joins the authorities that this machine trusts."""
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate[0]))
    return serving(certificate)


def serving(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def read_something_and_reset(peer: Peer) -> None:
    peer.connection.recv(1)
    peer.reset()


def answer_in_plain_text(peer: Peer) -> None:
    peer.connection.recv(1)
    peer.send(OK)
    peer.await_leaving()


class Listener:
    """A talk that keeps whatever arrives until the client leaves."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        self.heard.append(peer.await_leaving())


class TestGate:
    @pytest.mark.parametrize(
        "veto",
        [NotSent("paused"), ServiceAway("no ledger"), TimeoutError(), OSError(5, "x"), KeyError(1)],
        ids=lambda veto: type(veto).__name__,
    )
    def test_a_veto_comes_after_connect_and_tls_and_before_the_first_byte(
        self, tls: ssl.SSLContext | None, veto: Exception
    ) -> None:
        listener = Listener()

        def gate() -> None:
            assert server.connected.wait(PATIENCE_S), "asked before it was connected"
            raise veto

        with RawServer(listener, tls) as server, wire_to(server.url) as wire:
            with pytest.raises(NotSent) as raised:
                wire.post(call_to(server.url), gate)
            assert type(raised.value) is NotSent  # and not Unreached, which the breaker counts
            assert server.talked.wait(PATIENCE_S)
            assert listener.heard == [b""]

    def test_nothing_is_sent_when_the_gate_used_up_the_call(self) -> None:
        listener = Listener()

        def gate() -> None:
            threading.Event().wait(0.3)

        with RawServer(listener) as server, wire_to(server.url, total_timeout_s=0.2) as wire:
            with pytest.raises(NotSent):
                wire.post(call_to(server.url), gate)
            assert server.talked.wait(PATIENCE_S)
            assert listener.heard == [b""]

    def test_the_gate_is_not_asked_where_nobody_answers(self) -> None:
        asked: list[None] = []
        with full_backlog() as port:
            url = f"http://127.0.0.1:{port}"
            with wire_to(url, connect_timeout_s=0.2) as wire, pytest.raises(Unreached):
                wire.post(call_to(url), lambda: asked.append(None))
        assert asked == []

    def test_a_kept_connection_is_used_again_and_the_gate_asked_each_time(
        self, tls: ssl.SSLContext | None
    ) -> None:
        asked: list[int] = []
        with RawServer(answering(OK), tls) as server, wire_to(server.url) as wire:
            for _ in range(3):
                wire.post(call_to(server.url), lambda: asked.append(len(server.requests)))
            assert (server.connections, asked) == (1, [0, 1, 2])

    def test_a_veto_on_a_kept_connection_sends_nothing(self, tls: ssl.SSLContext | None) -> None:
        def veto() -> None:
            raise NotSent("paused")

        with RawServer(answering(OK), tls) as server, wire_to(server.url) as wire:
            wire.post(call_to(server.url))
            with pytest.raises(NotSent, match="paused"):
                wire.post(call_to(server.url), veto)
            assert server.talked.wait(PATIENCE_S)
            assert len(server.requests) == 1

    def test_a_kept_connection_that_was_closed_is_replaced(self) -> None:
        with RawServer(once(OK)) as server, wire_to(server.url) as wire:
            for number in range(3):
                server.talked.clear()
                assert wire.post(call_to(server.url)).status == 200
                assert server.talked.wait(PATIENCE_S)
                assert server.connections == number + 1

    def test_a_kept_connection_that_dies_under_a_request_is_no_answer(self) -> None:
        def answer_once_and_read_on(peer: Peer) -> None:
            peer.request()
            peer.send(OK)
            peer.request()

        with RawServer(answer_once_and_read_on) as server, wire_to(server.url) as wire:
            wire.post(call_to(server.url))
            with pytest.raises(NoAnswer):
                wire.post(call_to(server.url))
            assert (server.connections, len(server.requests)) == (1, 2)


class TestTls:
    def test_a_certificate_that_nobody_vouches_for_is_not_sent(
        self, certificate: tuple[Path, Path]
    ) -> None:
        asked: list[None] = []
        with RawServer(answering(OK), serving(certificate)) as server, wire_to(server.url) as wire:
            with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
                wire.post(call_to(server.url), lambda: asked.append(None))
            assert server.talked.wait(PATIENCE_S)
            assert (server.requests, asked) == ([], [])

    def test_a_certificate_for_somebody_else_is_not_sent(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        theirs = trusted(make_certificate(tmp_path, "127.0.0.9"), monkeypatch)
        with RawServer(answering(OK), theirs) as server, wire_to(server.url) as wire:
            with pytest.raises(NotSent):
                wire.post(call_to(server.url))
            assert server.talked.wait(PATIENCE_S)
            assert server.requests == []

    @pytest.mark.parametrize(
        "talk",
        [
            pytest.param(answer_in_plain_text, id="plain HTTP"),
            pytest.param(read_something_and_reset, id="reset"),
            pytest.param(lambda peer: peer.await_leaving(), id="silence"),
            pytest.param(lambda peer: peer.drip(b"\x16\x03\x03\x3f\xff" + bytes(999)), id="drip"),
        ],
    )
    def test_tls_that_does_not_come_about_in_time_is_not_sent(
        self, talk: Callable[[Peer], None]
    ) -> None:
        asked: list[None] = []
        with RawServer(talk) as server:
            url, began = server.url.replace("http", "https"), time.monotonic()
            with wire_to(url, connect_timeout_s=0.4) as wire, pytest.raises(NotSent):
                wire.post(call_to(url), lambda: asked.append(None))
            assert time.monotonic() - began < 3
            assert asked == []

    def test_an_answer_lost_under_tls_is_no_answer(
        self, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lose(peer: Peer) -> None:
            peer.request()
            peer.reset()

        tls = trusted(certificate, monkeypatch)
        with RawServer(lose, tls) as server, wire_to(server.url) as wire:
            with pytest.raises(NoAnswer):
                wire.post(call_to(server.url))
            assert len(server.requests) == 1


class TestThreads:
    def test_threads_that_share_a_wire_get_their_own_answers_and_vetoes(
        self, tls: ssl.SSLContext | None
    ) -> None:
        def echo(peer: Peer) -> None:
            while request := peer.request():
                body = request.partition(b"\r\n\r\n")[2]
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        def use(number: int) -> object:
            def gate() -> None:
                together.wait(PATIENCE_S)
                if number % 4 == 0:
                    raise NotSent(str(number))

            together.wait(PATIENCE_S)
            try:
                return wire.post(call_to(server.url, b"%d" % number), gate).body
            except NotSent as error:
                return str(error)

        together = threading.Barrier(32)
        with RawServer(echo, tls) as server, wire_to(server.url) as wire:
            with ThreadPoolExecutor(32) as pool:
                results = list(pool.map(use, range(96)))
            assert len(server.requests) == 72
        expected = [str(n) if n % 4 == 0 else b"%d" % n for n in range(96)]
        assert results == expected


class TestWhatErrorsSay:
    @pytest.mark.parametrize(
        "talk",
        [
            pytest.param(once(b""), id="remote closed"),
            pytest.param(once(b"garbage\r\n\r\n"), id="bad status line"),
            pytest.param(once(OK.replace(b"2", b"nonsense")), id="bad head"),
            pytest.param(lambda peer: peer.reset(), id="reset"),
            pytest.param(lambda peer: peer.await_leaving(), id="silence"),
        ],
    )
    def test_no_secret_of_a_call_is_in_the_error(self, talk: Callable[[Peer], None]) -> None:
        with RawServer(talk) as server, wire_to(server.url, read_timeout_s=0.3) as wire:
            self.fails_without_secrets(wire.post, server.url)

    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:1", "https://refundry.invalid", "https://127.0.0.1:1"]
    )
    def test_no_secret_of_a_call_that_was_not_sent_is_in_the_error(self, url: str) -> None:
        with wire_to(url) as wire:
            self.fails_without_secrets(wire.post, url)

    def test_no_secret_is_in_the_error_when_tls_fails(self) -> None:
        with RawServer(answer_in_plain_text) as server:
            url = server.url.replace("http", "https")
            with wire_to(url) as wire:
                self.fails_without_secrets(wire.post, url)

    def fails_without_secrets(self, post: Callable[[Call], object], url: str) -> None:
        call = Call(
            url=f"{url}/pay?access_token=HUNTER2&timestamp=1",
            body=b'{"key":"HUNTER2"}',
            headers={"Authorization": "HUNTER2"},
        )
        with pytest.raises((NotSent, NoAnswer)) as raised:
            post(call)
        said = str(raised.value)
        assert "HUNTER2" not in said
        assert "access_token" not in said
        assert 0 < len(said) <= 200
