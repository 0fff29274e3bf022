"""What every request passes first: bounds of size and time, and errors that are problems."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.edge import BODY_TIMEOUT_S, MAX_BODY, MAX_CALLBACK
from gateway.protocol import HEADERS_TIMEOUT_S, UNREAD_TIMEOUT_S
from tests.gateway.harness import Gateway, job, problem
from worker.ledger.engine import Ledger


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def raw_problem(answer: bytes, status: int, code: str) -> None:
    """The problem that comes over a bare socket."""
    start, _, body = answer.partition(b"\r\n\r\n")
    assert start.startswith(f"HTTP/1.1 {status}".encode()), answer
    assert b"application/problem+json" in start
    assert json.loads(body)["code"] == code


def test_what_is_not_there_is_a_problem(gateway: Gateway) -> None:
    problem(gateway.get("/nothing"), 404, "no_such_page")
    problem(gateway.get("/refunds/"), 404, "no_such_page")
    answer = gateway.call("PUT", "/refunds")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json;charset=gbk"]
)
def test_another_kind_of_body_is_a_problem(gateway: Gateway, kind: str) -> None:
    answer = gateway.call("POST", "/refunds", data=b"{}", headers={"Content-Type": kind})
    problem(answer, 415, "not_json")


def test_a_compressed_body_is_a_problem(gateway: Gateway) -> None:
    answer = gateway.post("/refunds", job(), headers={"Content-Encoding": "gzip"})
    problem(answer, 415, "encoded")


@pytest.mark.parametrize(
    ("path", "most"), [("/refunds", MAX_BODY), ("/callbacks/hk", MAX_CALLBACK)]
)
def test_a_body_is_bounded_before_it_is_read_and_while(
    gateway: Gateway, path: str, most: int
) -> None:
    announced = gateway.raw(head(path, f"Content-Length: {most + 1}"))
    raw_problem(announced, 413, "too_large")
    huge = gateway.raw(head(path, f"Content-Length: {'9' * 19}"))
    raw_problem(huge, 413, "too_large")
    chunk = f"{most + 1:x}\r\n".encode() + b"x" * (most + 1) + b"\r\n"
    raw_problem(gateway.raw(head(path, "Transfer-Encoding: chunked"), chunk), 413, "too_large")
    fits = gateway.call("POST", path, data=b"x" * most)
    assert fits.status_code != 413


def test_a_chunked_body_that_fits_is_read_whole(gateway: Gateway, names: dict[str, Any]) -> None:
    text = json.dumps(job(**names)).encode()
    parts = iter([text[:20], text[20:]])
    headers = {"Content-Type": "application/json"}
    answer = gateway.call("POST", "/refunds", data=parts, headers=headers)
    assert answer.status_code == 202, answer.text


def test_a_connection_that_drips_is_ended(own_ledger: Ledger, tmp_path: Path, valkey: str) -> None:
    with Gateway(tmp_path, own_ledger, valkey) as gateway, ThreadPoolExecutor(3) as pool:
        began = time.monotonic()
        body = pool.submit(gateway.raw, head("/refunds", "Content-Length: 9"), b"{")
        nothing = pool.submit(gateway.raw)
        headers = pool.submit(gateway.raw, b"POST /refunds HTTP/1.1\r\nHost:")
        raw_problem(body.result(), 408, "too_slow")
        assert nothing.result() == b""
        assert headers.result() == b""
        assert time.monotonic() - began < 2 * max(BODY_TIMEOUT_S, HEADERS_TIMEOUT_S)


def ask_and_never_read(connection: socket.socket, until: float) -> None:
    while time.monotonic() < until:
        with suppress(TimeoutError):
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)


def test_a_client_that_reads_no_answer_is_let_go(gateway: Gateway) -> None:
    """It would hold a place for ever; as many as there are places would shut everybody out."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(1)
        connection.connect(("127.0.0.1", gateway.port))
        with pytest.raises(ConnectionError):
            ask_and_never_read(connection, until=time.monotonic() + 4 * UNREAD_TIMEOUT_S)


def test_a_body_with_two_lengths_is_a_problem_and_nothing_after_it_is_served(
    gateway: Gateway,
) -> None:
    both = head("/callbacks/hk", "Content-Length: 5", "Transfer-Encoding: chunked")
    smuggled = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = gateway.raw(both + b"0\r\n\r\n" + smuggled)
    raw_problem(answer, 400, "two_lengths")
    assert b"alive" not in answer


def test_what_is_no_http_is_a_problem(gateway: Gateway) -> None:
    raw_problem(gateway.raw(b"\x16\x03\x01 hello\r\n\r\n"), 400, "no_http")
    long = b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n"
    raw_problem(gateway.raw(long), 400, "no_http")


def test_one_connection_serves_many_requests(gateway: Gateway) -> None:
    ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    end = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert gateway.raw(ask, ask, end).count(b'{"alive":true}') == 3


def test_no_control_character_is_reflected(gateway: Gateway) -> None:
    for number in ("%00", "%0d%0aSet-Cookie:a=b", "%ff", "%e2%80%a8", "a" * 65):
        answer = gateway.get(f"/refunds/shop/{number}")
        problem(answer, 422, "invalid")
        assert answer.text.isprintable()
        assert "Set-Cookie" not in answer.headers


def test_every_answer_says_that_nobody_keeps_or_guesses_it(gateway: Gateway) -> None:
    for path in ("/health", "/nothing", "/refunds/shop/none"):
        headers = gateway.get(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in headers


def test_the_log_names_routes_and_neither_numbers_nor_queries(
    gateway: Gateway, names: dict[str, Any]
) -> None:
    gateway.get(f"/refunds/shop/{names['refund_no']}?token=secret-in-a-query")
    gateway.get("/nothing?token=secret-in-a-query")
    log = gateway.log()
    assert names["refund_no"] not in log
    assert "secret-in-a-query" not in log
    requests = [json.loads(line) for line in log.splitlines() if "gateway.request" in line]
    assert {"/refunds/{account}/{refund_no}", None} <= {line["route"] for line in requests}


def test_it_is_alive_and_ready(gateway: Gateway) -> None:
    assert gateway.get("/health").json() == {"alive": True}
    ready = gateway.get("/ready")
    assert ready.json() == {"ledger": "ok", "redis": "ok", "broker": "ok"}


def test_every_error_of_every_route_is_documented_as_a_problem(gateway: Gateway) -> None:
    for path in gateway.get("/openapi.json").json()["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            for status, answer in operation["responses"].items():
                if not status.startswith("2"):
                    assert "application/problem+json" in answer["content"]
