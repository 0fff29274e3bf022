"""What no HTTP library sends: headers, lengths and bodies that lie. A problem, and no fault."""

import json
import re
import socket
from typing import Any

import psutil
import pytest

from tests.gateway.harness import Gateway, job, problem

#: Whole requests, and the statuses that one may be answered with; nothing where it is just closed.
RAW: dict[str, bytes] = {
    "a header that is too long": b"X: " + b"x" * 200_000 + b"\r\n",
    "too many headers": b"".join(b"X%d: 1\r\n" % number for number in range(20_000)),
    "a header without an end": b"X: " + b"x" * 2_000_000,
    "a folded header": b"X: a\r\n b\r\n",
    "a bare line feed": b"X: a\nAuthorization: Bearer x\r\n",
    "a NUL": b"X: \x00\r\n",
    "an escape": b"X\x1b[31m: a\r\n",
    "no UTF-8 in a token": b"Authorization: Bearer \xff\xfe\r\n",
    "a token without an end": b"Authorization: Bearer " + b"x" * 60_000 + b"\r\n",
    "two lengths": b"Content-Length: 1\r\nContent-Length: 2\r\n",
    "a length that is none": b"Content-Length: -1\r\n",
    "a length in other digits": "Content-Length: ١\r\n".encode(),
    "a length with a sign": b"Content-Length: +1\r\n",
    "an unknown coding": b"Transfer-Encoding: gzip, chunked\r\n",
    "a chunk that is none": b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a chunk that is negative": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a chunk without an end": b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 100_000,
    "a chunk with an endless extension": b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 200_000,
    "trailers without an end": b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 40_000,
    "a brotli body": b"Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
    "two codings": b"Content-Encoding: gzip, gzip\r\nContent-Length: 1\r\n\r\nx",
    "an upgrade": b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    "an expectation": b"Expect: 200-maybe\r\nContent-Length: 0\r\n",
}
LINES = {
    "a target with bytes": b"POST /refunds\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "another host's target": b"GET http://other.example/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "another version": b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
    "the next version": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method without an end": b"X" * 100_000,
    "two dots": b"GET /refunds/../health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
}
#: JSON that is none, or that a database does not take.
BODIES = {
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "no UTF-8": b'{"account":"\xff"}',
    "no number": b'{"account":"shop","amount":NaN}',
    "infinity": b'{"account":"shop","amount":-Infinity}',
    "5,000 digits": b'{"account":"shop","amount":' + b"9" * 5000 + b"}",
    "4,000 digits": b'{"account":"shop","amount":' + b"9" * 4000 + b"}",
    "too deep": b'{"account":"shop","items":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "deep": b'{"account":"shop","items":' + b"[" * 500 + b"]" * 500 + b"}",
    "a name twice": b'{"account":"shop","account":"till"}',
    "XML": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "many fields": json.dumps(job() | {f"{n}": n for n in range(4000)}).encode(),
    "a name without an end": json.dumps(job() | {"\x1b" * 9_000: 1}).encode(),
    "a NUL": json.dumps(job(reason="\x00")).encode(),
    "half a pair": json.dumps(job(refund_no="\ud800", reason="\udfff")).encode(),
    "a NUL in the account": json.dumps(job(account="shop\x00")).encode(),
    "half a pair in the account": json.dumps(job(account="\ud800")).encode(),
    "escapes": json.dumps(job(refund_no="\x1b[31m\x9b31m\u2028", currency="\n\n\n")).encode(),
}


def answers_of(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answer)]


def ask(gateway: Gateway, request: bytes) -> list[int]:
    """The statuses of what comes back; we say no more, so that nothing is waited for."""
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return []  # it closed before it had read all
        found = b""
        try:
            while received := connection.recv(65_536):
                found += received
        except ConnectionResetError:
            return answers_of(found)
    return answers_of(found)


def test_headers_and_lengths_that_lie_are_refused(gateway: Gateway) -> None:
    before = psutil.Process(gateway.process.pid).memory_info().rss
    for said, lines in RAW.items():
        start = b"POST /refunds HTTP/1.1\r\nHost: x\r\n" + lines
        statuses = ask(gateway, start if b"\r\n\r\n" in lines else start + b"\r\n")
        assert all(400 <= status < 500 for status in statuses), (said, statuses)
    for said, request in LINES.items():
        statuses = ask(gateway, request)
        assert all(status < 500 and status != 202 for status in statuses), (said, statuses)
    assert gateway.get("/health").ok
    assert psutil.Process(gateway.process.pid).memory_info().rss - before < 32 * 2**20


@pytest.mark.parametrize("said", BODIES)
def test_a_body_that_no_refund_is_made_of_is_a_short_problem(gateway: Gateway, said: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = gateway.call("POST", "/refunds", data=BODIES[said], headers=headers)
    assert answer.status_code in (400, 422), answer.text
    problem(answer, answer.status_code, answer.json()["code"])
    assert len(answer.content) < 10_000
    again: Any = gateway.call("POST", "/callbacks/hk", data=BODIES[said], headers=headers)
    assert (again.status_code, again.content) == (400, b'{"return_code":"FAIL"}')


def test_every_line_of_the_log_is_one_printable_object(gateway: Gateway) -> None:
    for method in (b"\x1b[31mGET", b"GE" * 20 + b"T"):
        ask(gateway, method + b" /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    names = {"refund_no": "R\x9b31m\n{}", "reason": "\u202e\x85"}
    gateway.post("/refunds", job(**names))
    gateway.post("/callbacks/%1b%5b31m%0a", {})
    gateway.post("/callbacks/hk", names, headers={"Content-Type": "a\x9b/b"})
    lines = gateway.log().splitlines()
    assert all(json.loads(line)["level"] for line in lines)
    assert all(line.isprintable() for line in lines)
