"""The wire against servers that speak raw bytes: what is provably not sent, and what may be."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.harness import (
    OK,
    PATIENCE_S,
    Peer,
    RawServer,
    answering,
    call_to,
    examples,
    full_backlog,
    once,
    wire_to,
)
from worker.errors import NoAnswer, Unreached
from worker.providers.http import MAX_ANSWER_BYTES, Answer

HEAD = b"HTTP/1.1 200 OK\r\n"
Talk = Callable[[Peer], None]


def with_body(body: bytes, more: bytes = b"") -> bytes:
    return HEAD + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def read_and_reset(peer: Peer) -> None:
    peer.request()
    peer.reset()


def read_and_be_silent(peer: Peer) -> None:
    peer.request()
    peer.await_leaving()


def read_and_drip(data: bytes, at_once: bytes = b"") -> Talk:
    def talk(peer: Peer) -> None:
        peer.request()
        peer.send(at_once)
        peer.drip(data)

    return talk


class TestNotSent:
    def test_a_name_that_nobody_has_is_not_sent(self) -> None:
        url = "https://refundry.invalid"
        with wire_to(url) as wire, pytest.raises(Unreached):
            wire.post(call_to(url))

    def test_a_refused_connection_is_not_sent(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with wire_to(url) as wire, pytest.raises(Unreached, match="ConnectionRefused"):
            wire.post(call_to(url))

    def test_a_connection_that_is_not_made_in_time_is_not_sent(self) -> None:
        with full_backlog() as port:
            url, began = f"http://127.0.0.1:{port}", time.monotonic()
            with wire_to(url, connect_timeout_s=0.4) as wire, pytest.raises(Unreached):
                wire.post(call_to(url))
        assert time.monotonic() - began < 3

    def test_all_addresses_of_a_name_share_one_connect_bound(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hosts = [f"127.0.0.{number}" for number in range(2, 10)]
        with ExitStack() as backlogs:
            port = backlogs.enter_context(full_backlog(hosts[0]))
            for host in hosts[1:]:
                backlogs.enter_context(full_backlog(host, port))
            name_has_addresses(monkeypatch, hosts, port)
            url, began = f"https://several.example:{port}", time.monotonic()
            with wire_to(url, connect_timeout_s=0.4) as wire, pytest.raises(Unreached):
                wire.post(call_to(url))
            assert time.monotonic() - began < 2  # 3.2 if each had a bound of its own

    def test_the_next_address_of_a_name_is_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with RawServer(answering(OK)) as server:
            name_has_addresses(monkeypatch, ["127.0.0.2", "127.0.0.1"], server.port)
            url = f"http://several.example:{server.port}"
            with wire_to(server.url) as wire:
                assert wire.post(call_to(url)).status == 200

    def test_a_look_up_that_takes_too_long_is_not_sent(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked_up, began = threading.Event(), time.monotonic()

        def slow(*_: object, **__: object) -> list[Any]:
            looked_up.wait(PATIENCE_S)
            return []

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        url = "https://slow.example"
        with wire_to(url, connect_timeout_s=0.4) as wire, pytest.raises(Unreached):
            wire.post(call_to(url))
        looked_up.set()
        assert time.monotonic() - began < 3


def name_has_addresses(monkeypatch: pytest.MonkeyPatch, hosts: list[str], port: int) -> None:
    """Gives a name several addresses; no resolver of a test machine has one."""
    kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    found = [(*kind, (host, port)) for host in hosts]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


class TestNoAnswer:
    @pytest.mark.parametrize(
        "talk",
        [
            pytest.param(read_and_be_silent, id="read timeout"),
            pytest.param(read_and_reset, id="reset"),
            pytest.param(once(b""), id="remote closed"),
            pytest.param(once(HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}"), id="cut chunk"),
            pytest.param(
                once(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"), id="no last chunk"
            ),
            pytest.param(once(b"SMTP ready\r\n\r\n"), id="bad status line"),
            pytest.param(once(b"HTTP/1.1 20"), id="cut status line"),
            pytest.param(once(b"HTTP/1.1 200 OK" + b"x" * 100_000), id="endless status line"),
            pytest.param(once(HEAD + b"X: y\r\n" * 1000 + b"\r\n"), id="too many headers"),
            pytest.param(once(with_body(b"x" * (MAX_ANSWER_BYTES + 1))), id="oversized"),
            pytest.param(
                once(with_body(gzip.compress(b"{}")[:-9], b"Content-Encoding: gzip\r\n")),
                id="cut gzip",
            ),
            pytest.param(
                once(with_body(b"{}", b"Content-Encoding: gzip\r\n")), id="gzip that is none"
            ),
            pytest.param(
                once(with_body(b"{}", b"Content-Encoding: br\r\n")), id="unasked-for encoding"
            ),
        ],
    )
    def test_a_lost_answer_is_no_answer_and_nothing_is_sent_twice(self, talk: Talk) -> None:
        with RawServer(talk) as server, wire_to(server.url, read_timeout_s=0.3) as wire:
            with pytest.raises(NoAnswer):
                wire.post(call_to(server.url))
            assert (server.connections, len(server.requests)) == (1, 1)

    @pytest.mark.parametrize(
        "talk",
        [
            pytest.param(read_and_drip(HEAD + b"X: y\r\n" * 99), id="headers"),
            pytest.param(
                read_and_drip(b"{" * 999, HEAD + b"Content-Length: 999\r\n\r\n"), id="body"
            ),
            pytest.param(
                read_and_drip(b"1\r\n{\r\n" * 99, HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
                id="chunks",
            ),
            pytest.param(
                read_and_drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 99), id="interim answers"
            ),
            pytest.param(lambda peer: peer.server.ending.wait(PATIENCE_S), id="silence"),
        ],
    )
    def test_a_call_ends_by_its_total_bound_however_slowly_bytes_move(self, talk: Talk) -> None:
        with RawServer(talk) as server, wire_to(server.url, total_timeout_s=0.4) as wire:
            began = time.monotonic()
            with pytest.raises(NoAnswer):
                wire.post(call_to(server.url, b"x" * 65_536))
            assert time.monotonic() - began < 3

    def test_a_read_ends_by_its_own_bound(self) -> None:
        with (
            RawServer(read_and_be_silent) as server,
            wire_to(server.url, read_timeout_s=0.3, total_timeout_s=60.0) as wire,
        ):
            began = time.monotonic()
            with pytest.raises(NoAnswer):
                wire.post(call_to(server.url))
            assert time.monotonic() - began < 3

    @pytest.mark.parametrize("zeros", [MAX_ANSWER_BYTES + 1, 100_000_000])
    @pytest.mark.parametrize("wbits", [zlib.MAX_WBITS, zlib.MAX_WBITS | 16])
    def test_a_small_answer_that_inflates_is_no_answer_and_takes_little_memory(
        self, zeros: int, wbits: int
    ) -> None:
        packer = zlib.compressobj(level=1, wbits=wbits)
        body = packer.compress(b"0" * zeros) + packer.flush()
        encoding = b"gzip" if wbits > zlib.MAX_WBITS else b"deflate"
        answer = with_body(body, b"Content-Encoding: %s\r\n" % encoding)
        with RawServer(once(answer)) as server, wire_to(server.url) as wire:
            tracemalloc.start()
            with pytest.raises(NoAnswer, match="longer"):
                wire.post(call_to(server.url))
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 16 * MAX_ANSWER_BYTES

    def test_an_answer_of_the_longest_allowed_length_is_an_answer(self) -> None:
        body = b"x" * MAX_ANSWER_BYTES
        packed = gzip.compress(body, 1)
        for answer in (with_body(body), with_body(packed, b"Content-Encoding: gzip\r\n")):
            with RawServer(once(answer)) as server, wire_to(server.url) as wire:
                assert wire.post(call_to(server.url)) == Answer(status=200, body=body)

    def test_whatever_comes_back_is_an_answer_or_no_answer_and_never_not_sent(self) -> None:
        said = [b""]
        with RawServer(lambda peer: once(said[0])(peer)) as server, wire_to(server.url) as wire:

            @examples(100)
            @given(st.binary(max_size=200), st.sampled_from([b"", HEAD, OK, HEAD + b"\r\n"]))
            def says(noise: bytes, start: bytes) -> None:
                said[0] = start + noise
                before = len(server.requests)
                server.talked.clear()
                with suppress(NoAnswer):
                    wire.post(call_to(server.url))
                assert server.talked.wait(PATIENCE_S)
                assert len(server.requests) == before + 1

            says()


class TestSentOnce:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, status: int) -> None:
        with RawServer(answering(OK)) as other:
            moved = b"HTTP/1.1 %d Moved\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n"
            talk = answering(moved % (status, other.url.encode()))
            with RawServer(talk) as server, wire_to(server.url) as wire:
                assert wire.post(call_to(server.url)).status == status
                assert (len(server.requests), other.connections) == (1, 0)

    @pytest.mark.parametrize("status", [204, 400, 404, 408, 429, 500, 502, 503, 504])
    def test_an_error_status_is_an_answer_and_not_tried_again(self, status: int) -> None:
        answer = b"HTTP/1.1 %d X\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n" % status
        with RawServer(answering(answer)) as server, wire_to(server.url) as wire:
            assert wire.post(call_to(server.url)) == Answer(status=status, body=b"")
            assert len(server.requests) == 1

    def test_exactly_the_given_bytes_arrive_with_no_header_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login root password hunter2\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        talk = answering(with_body(b"{}", b"Set-Cookie: a=b; Path=/\r\n"))
        with RawServer(talk) as server, wire_to(server.url) as wire:

            @examples(50)
            @given(st.binary(max_size=5000) | st.text().map(str.encode))
            def arrives(body: bytes) -> None:
                wire.post(call_to(server.url, body, **{"X-Sign": "abc"}))
                head, _, came = server.requests[-1].partition(b"\r\n\r\n")
                first, *lines = head.decode().split("\r\n")
                assert (first, came) == ("POST /pay HTTP/1.1", body)
                headers = dict(line.lower().split(": ", 1) for line in lines)
                assert headers == {
                    "host": f"127.0.0.1:{server.port}",
                    "accept-encoding": "identity",
                    "user-agent": "refundry",
                    "content-type": "application/json",
                    "x-sign": "abc",
                    "content-length": str(len(body)),
                }

            arrives()

    def test_no_proxy_is_taken_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with RawServer(answering(OK)) as proxy, RawServer(answering(OK)) as server:
            for name in ("http_proxy", "https_proxy", "all_proxy"):
                monkeypatch.setenv(name, proxy.url)
                monkeypatch.setenv(name.upper(), proxy.url)
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            with wire_to(server.url) as wire:
                wire.post(call_to(server.url))
            assert (proxy.connections, len(server.requests)) == (0, 1)
