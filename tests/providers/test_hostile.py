"""Answers that are hostile or broken in ways a careless reader falls for."""

import contextlib
import gzip
import json
import logging
import time
import tracemalloc
from typing import Any

import pytest

from tests.providers.harness import (
    Peer,
    RawServer,
    account,
    call_to,
    facts,
    hkrt_signed,
    once,
    read_both,
    wire_to,
)
from tests.providers.test_wire import HEAD
from worker.errors import NoAnswer, NotSent
from worker.providers.base import load_provider
from worker.providers.formats import fen_of, fen_of_yuan
from worker.providers.http import MAX_ANSWER_BYTES, Answer, Call
from worker.refund import Verdict

HK = {
    "return_code": 10000,
    "refund_status": 1,
    "refund_no": "WX1",
    "out_refund_no": "REFUND0001",
    "refund_amount": "0.50",
    "total_amount": "1.00",
}
QP = {
    "transaction_status": "REFUNDED",
    "refund_amount": 50,
    "order_no": "ORDER0001",
    "refund_order_no": "REFUND0001",
    "total_amount": 100,
}


def hk(**more: Any) -> bytes:
    return hkrt_signed(json.dumps({**HK, **more}))


def qp(code: str = "SUCCESS", /, **more: Any) -> bytes:
    return json.dumps({"code": code, "msg": "", "data": {**QP, **more}}).encode()


def both(name: str, body: bytes, **more: Any) -> Any:
    return read_both(load_provider(account(name, **more)), facts(), Answer(status=200, body=body))


def test_a_body_shorter_than_its_content_length_is_no_answer() -> None:
    with (
        RawServer(once(HEAD + b"Content-Length: 100\r\n\r\n{}")) as server,
        wire_to(server.url) as wire,
        pytest.raises(NoAnswer),
    ):
        wire.post(call_to(server.url))


@pytest.mark.parametrize("encoding", [b"gzip", b"identity"])
def test_a_redirect_with_an_endless_body_takes_little_memory(encoding: bytes) -> None:
    body = gzip.compress(b" " * 200_000_000, 1) if encoding == b"gzip" else b" " * 50_000_000
    head = b"HTTP/1.1 307 X\r\nLocation: /x\r\nContent-Encoding: %s\r\n" % encoding
    with RawServer(once(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)) as server:
        with wire_to(server.url) as wire:
            tracemalloc.start()
            with contextlib.suppress(NoAnswer):
                wire.post(call_to(server.url))
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert peak < 16 * MAX_ANSWER_BYTES


def test_a_call_ends_by_its_total_bound_when_the_server_reads_nothing() -> None:
    def read_nothing(peer: Peer) -> None:
        peer.server.ending.wait(10)

    with RawServer(read_nothing) as server, wire_to(server.url, total_timeout_s=0.5) as wire:
        began = time.monotonic()
        with pytest.raises(NoAnswer):
            wire.post(call_to(server.url, b"x" * 40_000_000))
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"br", b"{}"),
        (b"zstd", b"{}"),
        (b"gzip, gzip", gzip.compress(gzip.compress(b"{}"))),
        (b"gzip", b"{}"),
        (b"gzip", gzip.compress(b"{}") + gzip.compress(b'{"code":"SUCCESS"}')),
        (b"gzip", gzip.compress(b"{}") + b"more"),
        (b"gzip", gzip.compress(b"{}")[:-4]),
        (b"deflate", gzip.compress(b"{}")[12:]),
        (b"\xff\x00", b"{}"),
    ],
    ids=["br", "zstd", "twice", "plain", "two", "more", "cut", "raw", "no text"],
)
def test_an_encoding_that_lies_is_no_answer(encoding: bytes, body: bytes) -> None:
    head = HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    with RawServer(once(head + body)) as server, wire_to(server.url) as wire:
        with pytest.raises(NoAnswer):
            wire.post(call_to(server.url))


@pytest.mark.parametrize(
    "body",
    [
        rb'{"return_code":10000,"return_msg":"\ud800","sign":"x"}',
        rb'{"return_code":10000,"sign":"\ud800"}',
    ],
)
def test_half_a_surrogate_pair_is_no_answer(body: bytes) -> None:
    assert both("hkrt", body) == [None, None]


@pytest.mark.parametrize(
    "body", [rb'{"code":"\ud800","msg":"\udfff"}', qp(refund_transaction_no="\ud800")]
)
def test_every_text_of_an_outcome_can_be_stored(body: bytes) -> None:
    for outcome in both("quickpay", body):
        if outcome:
            for said in (outcome.code, outcome.message, outcome.provider_refund_no or ""):
                said.encode()


@pytest.mark.parametrize("depth", [100, 300, 500, 700, 900, 990])
def test_nesting_of_any_depth_is_no_answer_and_no_other_error(depth: int) -> None:
    body = b'{"return_code":10000,"sign":"x","a":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    assert both("hkrt", body) == [None, None]


@pytest.mark.parametrize("field", ["total_amount", "refunded_amount", "remanent_amount"])
def test_a_negative_amount_elsewhere_makes_an_hkrt_answer_undecided(field: str) -> None:
    for outcome in both("hkrt", hk(**{field: "-1.00"})):
        assert outcome is None or outcome.verdict in (Verdict.UNKNOWN, Verdict.KNOWN)


@pytest.mark.parametrize(
    "field", ["total_amount", "settlement_amount", "cash_amount", "coupon_amount"]
)
def test_a_negative_amount_elsewhere_makes_a_quickpay_answer_undecided(field: str) -> None:
    for outcome in both("quickpay", qp(**{field: -1})):
        assert outcome is None or outcome.verdict in (Verdict.UNKNOWN, Verdict.KNOWN)


@pytest.mark.parametrize("body", [b"HT\x00TP/1.1 200 OK\r\n\r\n", b"\x01\x02\r\n\r\n"])
def test_an_error_can_be_stored_and_is_one_line(body: bytes) -> None:
    with RawServer(once(body)) as server, wire_to(server.url) as wire:
        with pytest.raises(NoAnswer) as raised:
            wire.post(call_to(server.url))
    assert not any(ord(sign) < 32 for sign in str(raised.value))


def test_no_secret_header_is_in_the_error() -> None:
    with wire_to("http://127.0.0.1:1") as wire, pytest.raises(NotSent) as raised:
        wire.post(call_to("http://127.0.0.1:1", b"{}", **{"X-Key": "HUNTER2\nHUNTER3"}))
    assert "HUNTER2" not in str(raised.value)


def test_no_url_is_in_the_error_of_a_port_that_is_none() -> None:
    url = "http://127.0.0.1:99999"
    with wire_to("http://127.0.0.1:1") as wire, pytest.raises(NotSent) as raised:
        wire.post(Call(url=f"{url}/pay?access_token=HUNTER2", body=b""))
    assert "HUNTER2" not in str(raised.value)


def test_no_query_of_a_url_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with RawServer(once(HEAD + b"broken header line\r\nContent-Length: 2\r\n\r\n{}")) as server:
        with wire_to(server.url) as wire, caplog.at_level(logging.INFO):
            with contextlib.suppress(NoAnswer):
                wire.post(Call(url=f"{server.url}/pay?access_token=HUNTER2", body=b""))
    assert "HUNTER2" not in caplog.text


@pytest.mark.parametrize("digits", ["０.５０", "٠.٥٠"])
def test_digits_of_other_scripts_are_no_plain_decimal(digits: str) -> None:
    assert fen_of_yuan(digits) is None


def test_digits_of_other_scripts_are_no_fen() -> None:
    assert fen_of("５０") is None


def test_a_definitive_code_about_another_refund_is_no_answer() -> None:
    provider = load_provider(account("quickpay", definitive_codes=["E1"]))
    try:
        outcome = provider.read_submission(
            facts(), Answer(status=200, body=qp("E1", refund_order_no="OTHER"))
        )
    except NoAnswer:
        return
    assert outcome.verdict is not Verdict.REJECTED


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("quickpay", qp("NOT_FOUND", refund_order_no="OTHER")),
        ("quickpay", qp("NOT_FOUND")),
        ("hkrt", hk(return_code=10404, out_refund_no="OTHER")),
        ("hkrt", hk(return_code=10404)),
    ],
)
def test_not_found_that_names_another_refund_or_a_state_is_not_not_found(
    name: str, body: bytes
) -> None:
    outcome = both(name, body)[1]
    assert outcome is None or outcome.verdict is not Verdict.NOT_FOUND
