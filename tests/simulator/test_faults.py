"""Each fault looks on the socket like what it says."""

from __future__ import annotations

import gzip
import json
import time

import pytest
import requests

from simulator.providers.hkrt import signature
from tests.simulator.harness import (
    KEY,
    Sim,
    await_true,
    quick_body,
    raw_answer,
    raw_submit,
    read_all,
    state_on_wire,
)


class TestFaults:
    def test_timeout_after_is_silence_after_processing(self, sim: Sim, refund: str) -> None:
        sim.plan("quickpay", refund, submit=["timeout_after"])
        with pytest.raises(requests.ReadTimeout):
            sim.quick(refund, timeout=0.2)
        assert sim.entry(refund)["executions"] == 1

    @pytest.mark.parametrize("fault", ["timeout_before", "reset_before"])
    def test_a_fault_before_leaves_no_record(self, sim: Sim, refund: str, fault: str) -> None:
        sim.plan("quickpay", refund, submit=[fault])
        with pytest.raises((requests.ReadTimeout, requests.ConnectionError)):
            sim.quick(refund, timeout=0.2)
        assert sim.book(refund=refund) == []
        assert state_on_wire(sim.quick(refund).json()) == "REFUNDED"

    def test_reset_after_is_a_tcp_reset_after_processing(self, sim: Sim, refund: str) -> None:
        sim.plan("quickpay", refund, submit=["reset_after"])
        connection = raw_submit(sim, refund)
        with pytest.raises(ConnectionResetError):
            read_all(connection)
        assert sim.entry(refund)["executions"] == 1

    @pytest.mark.parametrize(
        ("fault", "status", "known"),
        [("http_500_after", 500, 1), ("http_500_before", 500, 0), ("http_404_before", 404, 0)],
    )
    def test_an_error_status_says_nothing_of_the_refund(
        self, sim: Sim, refund: str, fault: str, status: int, known: int
    ) -> None:
        sim.plan("quickpay", refund, submit=[fault])
        assert sim.quick(refund).status_code == status
        assert len(sim.book(refund=refund)) == known

    def test_truncated_promises_more_than_it_sends(self, sim: Sim, refund: str) -> None:
        head, body = raw_answer(sim, refund, "truncated")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        assert 0 < len(body) < length
        assert sim.entry(refund)["executions"] == 1

    def test_headers_cut_ends_within_the_headers(self, sim: Sim, refund: str) -> None:
        sim.plan("quickpay", refund, submit=["headers_cut"])
        data = read_all(raw_submit(sim, refund))
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\n\r\n" not in data
        assert sim.entry(refund)["executions"] == 1

    @pytest.mark.parametrize("fault", ["garbage", "bad_signature"])
    def test_garbage_is_html_with_status_200(self, sim: Sim, refund: str, fault: str) -> None:
        sim.plan("quickpay", refund, submit=[fault])
        answer = sim.quick(refund)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
        assert sim.entry(refund)["executions"] == 1

    def test_bad_signature_does_not_verify(self, sim: Sim, refund: str) -> None:
        sim.plan("hkrt", refund, submit=["bad_signature"], query=["bad_signature"])
        for answer in (sim.hkrt(refund), sim.hkrt_query(out_refund_no=refund)):
            assert answer["sign"] != signature(answer, KEY)

    @pytest.mark.parametrize(
        ("fault", "start"), [("drip", b"HTTP/1.1 200 OK\r\n"), ("drip_headers", b"HT")]
    )
    def test_drip_comes_byte_by_byte(self, sim: Sim, refund: str, fault: str, start: bytes) -> None:
        sim.plan("quickpay", refund, submit=[fault])
        with raw_submit(sim, refund) as connection:
            data = b""
            while not data.startswith(start):
                data += connection.recv(65536)
            began = time.monotonic()
            pieces = [connection.recv(65536) for _ in range(2)]
        assert all(len(piece) == 1 for piece in pieces)
        assert time.monotonic() - began > 0.3

    def test_oversized_is_five_megabytes_of_valid_json(self, sim: Sim, refund: str) -> None:
        sim.plan("quickpay", refund, submit=["oversized"])
        answer = sim.quick(refund)
        assert len(answer.content) == 5_000_000
        assert state_on_wire(answer.json()) == "REFUNDED"

    def test_gzip_bomb_inflates_to_fifty_megabytes(self, sim: Sim, refund: str) -> None:
        head, body = raw_answer(sim, refund, "gzip_bomb")
        assert b"Content-Encoding: gzip" in head
        assert len(body) < 1_000_000
        inflated = gzip.decompress(body)
        assert len(inflated) > 50_000_000
        assert state_on_wire(json.loads(inflated[50_000_000:])) == "REFUNDED"

    def test_redirect_is_not_processed_and_logged_if_followed(self, sim: Sim, refund: str) -> None:
        sim.plan("quickpay", refund, submit=["redirect"])
        answer = sim.quick(refund)
        assert answer.status_code == 307
        assert sim.book(refund=refund) == []
        assert not sim.log(event="redirected")
        sim.post(answer.headers["Location"], quick_body(refund))
        assert sim.log(event="redirected", path="/qp/QuickPay/Refund")

    def test_wrong_answers_are_wrong_where_they_say(self, sim: Sim, refund: str) -> None:
        faults = ["ok", "wrong_amount", "wrong_number", "unknown_code", "unknown_status"]
        sim.plan("quickpay", refund, submit=faults)
        right, amount, number, code, status = (sim.quick(refund).json() for _ in faults)
        assert amount["data"]["refund_amount"] == right["data"]["refund_amount"] + 1
        assert number["data"]["refund_order_no"] != refund
        assert code["code"] not in ("SUCCESS", "NOT_FOUND")
        assert state_on_wire(status) not in ("CREATE", "REFUNDED", "REFUNDFAILED")

    def test_slow_is_processed_at_once_and_answered_later(self, sim: Sim, refund: str) -> None:
        sim.plan("quickpay", refund, submit=["slow:0.5"])
        with raw_submit(sim, refund) as connection:
            sim.await_log(event="EXECUTED", refund=refund)
            assert not sim.log(event="submit", refund=refund)
            assert connection.recv(8) == b"HTTP/1.1"

    def test_late_is_processed_after_the_client_has_gone(self, sim: Sim, refund: str) -> None:
        sim.plan("quickpay", refund, submit=["late:0.5"])
        with pytest.raises(requests.ReadTimeout):
            sim.quick(refund, timeout=0.1)
        assert sim.quick_query(refund)["code"] == "NOT_FOUND"
        sim.await_log(event="EXECUTED", refund=refund)
        assert sim.entry(refund)["executions"] == 1

    def test_query_faults_come_in_order_and_then_ok(self, sim: Sim, refund: str) -> None:
        sim.quick(refund)
        sim.plan("quickpay", refund, query=["not_found", "http_500", "http_404", "wrong_amount"])
        query = {"store_no": "S1", "order_no": f"O{refund}", "refund_order_no": refund}
        answers = [sim.post("/qp/QuickPay/RefundQuery", query) for _ in range(5)]
        assert answers[0].json()["code"] == "NOT_FOUND"
        assert [answer.status_code for answer in answers] == [200, 500, 404, 200, 200]
        assert [answer.json()["data"]["refund_amount"] for answer in answers[3:]] == [31, 30]
        events = sim.log(event="query", refund=refund)
        assert [event["fault"] for event in events][-2:] == ["wrong_amount", "ok"]

    def test_two_hundred_held_connections_do_not_hold_up_others(self, sim: Sim) -> None:
        numbers = [f"HELD{number:06d}" for number in range(200)]
        sim.control(
            "plan",
            [{"provider": "quickpay", "refund": n, "submit": ["timeout_after"]} for n in numbers],
        )
        held = [raw_submit(sim, number) for number in numbers]
        await_true(lambda: set(numbers) <= {event["refund"] for event in sim.log(event="submit")})
        assert requests.get(f"{sim.url}/_sim/health", timeout=1).status_code == 200
        for connection in held:
            connection.close()
