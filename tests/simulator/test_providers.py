"""The providers as their pages say: wire formats, deduplication, money."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import requests

from simulator.providers.hkrt import signature
from tests.simulator.harness import (
    KEY,
    PAGE_FIELDS,
    Sim,
    signed,
    state_on_wire,
)


class TestSignature:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"return_code": 0, "version": "1.0.0"}, "AC58F7A8575958A2D0E212461701B371"),
            ({"a": 1, "b": {"c": 2}, "d": 3}, "263413D0DFDAC0006B6E16EC1478303D"),
            (
                {
                    "a": 1,
                    "b": [
                        {"c1": 2, "d1": 1},
                        {"c2": 4, "d2": 3},
                        {"c3": 6, "d3": 5},
                        {"c4": 8, "d4": 7},
                    ],
                },
                "71DF90555549730B2050ADE5349F48EA",
            ),
        ],
    )
    def test_equals_the_documented_examples(self, fields: Any, expected: str) -> None:
        assert signature(fields, KEY) == expected

    def test_leaves_out_sign_null_and_empty(self) -> None:
        noise = {"sign": "x", "null": None, "empty": ""}
        assert signature({"a": "1"} | noise, KEY) == signature({"a": "1"}, KEY)

    def test_joins_the_scalars_of_an_array(self) -> None:
        joined = hashlib.md5(b"a=1&2&c=3" + KEY.encode()).hexdigest().upper()
        assert signature({"a": [1, 2], "c": 3}, KEY) == joined

    def test_keeps_a_number_as_it_was_written(self) -> None:
        assert signature({"a": Decimal("1.00")}, KEY) == signature({"a": "1.00"}, KEY)


class TestQuickPay:
    def test_refunds_and_answers_every_field_of_the_page(self, sim: Sim, refund: str) -> None:
        answer = sim.quick(refund).json()
        assert answer["code"] == "SUCCESS"
        assert answer["data"].keys() == PAGE_FIELDS
        assert state_on_wire(answer) == "REFUNDED"
        assert sim.entry(refund) == {
            "provider": "quickpay",
            "order": f"O{refund}",
            "refund": refund,
            "amount": 30,
            "state": "succeeded",
            "provider_refund_no": answer["data"]["refund_transaction_no"],
            "executions": 1,
            "submits": 1,
            "queries": 0,
        }

    def test_declines_and_moves_no_money(self, sim: Sim, refund: str) -> None:
        sim.plan("quickpay", refund, fate="decline")
        answer = sim.quick(refund).json()
        assert (answer["code"], state_on_wire(answer)) == ("SUCCESS", "REFUNDFAILED")
        assert (sim.entry(refund)["state"], sim.entry(refund)["executions"]) == ("failed", 0)

    def test_processes_a_failed_refund_anew_under_its_number(self, sim: Sim, refund: str) -> None:
        sim.plan("quickpay", refund, fate=["decline", "succeed"])
        states = [state_on_wire(sim.quick(refund).json()) for _ in range(3)]
        assert states == ["REFUNDFAILED", "REFUNDED", "REFUNDED"]
        assert sim.entry(refund)["executions"] == 1

    @pytest.mark.parametrize(
        ("fate", "states"),
        [
            ("pending:2", ["CREATE", "CREATE", "REFUNDED"]),
            ("pending_decline:1", ["CREATE", "REFUNDFAILED"]),
            ("unknown:2", ["PROCESSING", "PROCESSING", "PROCESSING", "REFUNDED"]),
            ("reversal:2", ["REFUNDED", "REFUNDED", "REFUNDFAILED", "REFUNDFAILED"]),
        ],
    )
    def test_settles_what_is_open_by_queries(
        self, sim: Sim, refund: str, fate: str, states: list[str]
    ) -> None:
        sim.plan("quickpay", refund, fate=fate)
        first = state_on_wire(sim.quick(refund).json())
        later = [state_on_wire(sim.quick_query(refund)) for _ in states[1:]]
        assert [first, *later] == states
        assert sim.entry(refund)["executions"] == ("REFUNDED" in states)

    def test_does_not_find_an_unknown_number(self, sim: Sim, refund: str) -> None:
        assert sim.quick_query(refund)["code"] == "NOT_FOUND"
        assert sim.book(refund=refund) == []

    def test_refuses_a_query_that_names_another_order(self, sim: Sim, refund: str) -> None:
        sim.quick(refund)
        assert sim.quick_query(refund, order="OTHER")["code"] == "ORDER_DIFFERS"

    @pytest.mark.parametrize(
        "change",
        [
            {"amount": "100"},
            {"amount": 0},
            {"amount": None},
            {"amount": 10_000_000_000},
            {"refund_amount": 101},
            {"refund_amount": 0},
            {"refund_amount": 30.0},
            {"refund_amount": True},
            {"store_no": ""},
            {"store_no": "S" * 33},
            {"operator": "o" * 17},
            {"order_no": None},
            {"refund_desc": 1},
            {"itemlist": {}},
            {"itemlist": [{"quantity": "4"}]},
        ],
    )
    def test_refuses_what_the_page_forbids(self, sim: Sim, refund: str, change: Any) -> None:
        answer = sim.quick(refund, **change).json()
        assert (answer["code"], answer["data"]) == ("PARAM_ERROR", None)
        assert sim.book(refund=refund) == []

    def test_refuses_a_body_that_is_not_json(self, sim: Sim) -> None:
        headers = {"Content-Type": "application/json"}
        url = f"{sim.url}/qp/QuickPay/Refund"
        answer = requests.post(url, b"\xff{", headers=headers, timeout=5)
        assert answer.json()["code"] == "PARAM_ERROR"

    def test_has_nothing_at_other_paths(self, sim: Sim) -> None:
        assert sim.post("/qp/QuickPay/Pay", {}).status_code == 404


class TestHkrt:
    def test_refunds_with_a_signed_answer_of_every_field(self, sim: Sim, refund: str) -> None:
        answer = sim.hkrt(refund)
        assert answer["sign"] == signature(answer, KEY)
        assert (str(answer["return_code"]), str(answer["refund_status"])) == ("10000", "1")
        assert answer["refund_amount"] in ("0.50", "-0.50")
        assert (answer["refunded_amount"], answer["remanent_amount"]) == ("0.50", "999999.50")
        assert answer["out_refund_no"] == refund
        assert {"total_amount", "refund_no", "channel_trade_no"} <= answer.keys()

    def test_shows_every_whim_of_the_page_and_signs_them_all(self, sim: Sim) -> None:
        answers = [sim.hkrt(f"WHIM{number:06d}") for number in range(60)]
        assert all(answer["sign"] == signature(answer, KEY) for answer in answers)
        assert {type(answer["refund_status"]) for answer in answers} == {int, str}
        assert {type(answer["return_code"]) for answer in answers} == {int, str}
        assert {answer["refund_amount"] for answer in answers} == {"0.50", "-0.50"}
        assert {"attach" in answer for answer in answers} == {True, False}
        assert any("“" in answer["return_msg"] for answer in answers)

    def test_replays_a_decline(self, sim: Sim, refund: str) -> None:
        sim.plan("hkrt", refund, fate=["decline", "succeed"])
        answers = [sim.hkrt(refund) for _ in range(2)]
        assert [str(answer["refund_status"]) for answer in answers] == ["2", "2"]
        assert all(answer["error_code"] and answer["error_msg"] for answer in answers)
        assert sim.entry(refund)["executions"] == 0

    @pytest.mark.parametrize("fate", ["pending:1", "unknown:0"])
    def test_says_status_3_while_a_refund_is_open(self, sim: Sim, refund: str, fate: str) -> None:
        sim.plan("hkrt", refund, fate=fate)
        assert str(sim.hkrt(refund)["refund_status"]) == "3"
        assert str(sim.hkrt_query(out_refund_no=refund)["refund_status"]) == "1"

    def test_lets_refund_no_win_in_a_query(self, sim: Sim, refund: str) -> None:
        number = sim.hkrt(refund)["refund_no"]
        other = f"{refund}X"
        sim.hkrt(other)
        assert sim.hkrt_query(refund_no=number, out_refund_no=other)["out_refund_no"] == refund

    def test_finds_a_refund_by_channel_trade_no(self, sim: Sim, refund: str) -> None:
        number = sim.hkrt(refund)["channel_trade_no"]
        assert sim.hkrt_query(channel_trade_no=number)["out_refund_no"] == refund

    def test_does_not_find_an_unknown_number(self, sim: Sim, refund: str) -> None:
        answer = sim.hkrt_query(out_refund_no=refund)
        assert answer["return_code"] == 10404
        assert answer["sign"] == signature(answer, KEY)

    def test_refuses_a_wrong_signature(self, sim: Sim, refund: str) -> None:
        body = {"out_refund_no": refund, "out_trade_no": "O", "refund_amount": "1"}
        answer = sim.post("/hk/api/v1/pay/wx/refund", signed(body, "wrong")).json()
        assert answer["return_code"] == 10002
        assert sim.log(event="refused", reason="bad_signature")
        assert sim.book(refund=refund) == []

    def test_refuses_an_unknown_merchant(self, sim: Sim) -> None:
        answer = sim.post("/hk/api/v1/pay/wx/refundquery", {"accessid": "x", "refund_no": "1"})
        assert answer.json()["return_code"] == 10003

    @pytest.mark.parametrize("amount", ["0", "0.00", "-1.00", "1.234", "01", "1e2", "", 1, "１"])
    def test_refuses_an_amount_that_is_not_yuan(self, sim: Sim, refund: str, amount: Any) -> None:
        assert sim.hkrt(refund, amount)["return_code"] == 10001
        assert sim.log(event="refused", reason="malformed", refund=refund)

    def test_verifies_a_nested_signature(self, sim: Sim, refund: str) -> None:
        answer = sim.hkrt(refund, extend={"b": [{"x": 1}, {"y": "z"}], "a": 2})
        assert str(answer["return_code"]) == "10000"


class TestMoney:
    def test_a_repeated_submit_is_replayed(self, sim: Sim, refund: str) -> None:
        answers = [sim.quick(refund).json()["data"]["refund_transaction_no"] for _ in range(2)]
        assert answers[0] == answers[1]
        assert (sim.entry(refund)["executions"], sim.entry(refund)["submits"]) == (1, 2)
        assert len(sim.log(event="EXECUTED", refund=refund)) == 1

    def test_many_at_once_execute_a_number_once(self, sim: Sim, refund: str) -> None:
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: sim.quick(refund).json(), range(60)))
        assert {state_on_wire(answer) for answer in answers} == {"REFUNDED"}
        assert sim.entry(refund)["executions"] == 1

    @pytest.mark.parametrize("change", [{"refund_amount": 31}, {"order_no": "OTHER"}])
    def test_a_used_number_with_other_content_is_refused(
        self, sim: Sim, refund: str, change: Any
    ) -> None:
        sim.quick(refund)
        answer = sim.quick(refund, **change).json()
        assert (answer["code"], answer["data"]) == ("CONTENT_CHANGED", None)
        assert sim.log(event="refused", refund=refund, reason="content_changed")
        assert (sim.entry(refund)["amount"], sim.entry(refund)["executions"]) == (30, 1)

    def test_a_declined_number_is_free_where_the_dial_says_so(self, sim: Sim, refund: str) -> None:
        sim.plan("hkrt", refund, fate=["decline", "succeed"])
        sim.hkrt(refund)
        sim.control("dial", {"provider": "hkrt", "decline_frees_number": True})
        answer = sim.hkrt(refund, "0.70")
        sim.control("dial", {"provider": "hkrt", "decline_frees_number": False})
        assert str(answer["refund_status"]) == "1"
        assert sim.entry(refund)["amount"] == 70

    def test_a_known_number_is_executed_again_where_the_dial_says_so(
        self, sim: Sim, refund: str
    ) -> None:
        sim.quick(refund)
        sim.control("dial", {"provider": "quickpay", "deduplicates": False})
        sim.quick(refund)
        sim.control("dial", {"provider": "quickpay", "deduplicates": True})
        sim.quick(refund)
        assert sim.entry(refund)["executions"] == 2

    def test_never_more_than_the_first_request_said_was_paid(self, sim: Sim, refund: str) -> None:
        order = f"O{refund}"
        sim.plan("quickpay", f"{refund}a", fate="pending:9")
        states = [
            state_on_wire(sim.quick(f"{refund}{letter}", amount, order_no=order).json())
            for letter, amount in (("a", 60), ("b", 41), ("c", 40))
        ]
        assert states == ["CREATE", "REFUNDFAILED", "REFUNDED"]

    def test_never_more_than_the_orders_message_said_was_paid(self, sim: Sim, refund: str) -> None:
        sim.control("orders", [{"provider": "hkrt", "order": f"O{refund}", "paid": 49}])
        assert str(sim.hkrt(refund)["refund_status"]) == "2"
