"""The simulator's bills: what its book has, in each provider's own way, and differing as told."""

import csv
import io
from typing import Any

import pytest
import requests

from tests.simulator.harness import Sim


def bill(sim: Sim, provider: str, encoding: str) -> list[list[str]]:
    answer = requests.get(f"{sim.url}/_sim/statement", params={"provider": provider}, timeout=5)
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.content.decode(encoding))))


def lines(sim: Sim, begins: str) -> list[list[str]]:
    """Number, order, amount and state of the lines of refunds whose numbers begin so."""
    rows = bill(sim, "quickpay", "utf-8")
    return [[row[0], row[2], row[3], row[5]] for row in rows if row[0].startswith(begins)]


def differ(sim: Sim, **how: Any) -> None:
    sim.control("statement", [{"provider": "quickpay", **how}])


def test_a_bill_has_what_is_settled_and_a_line_of_totals(sim: Sim) -> None:
    sim.quick("SA1", 30)
    sim.plan("quickpay", "SA2", fate="decline")
    sim.quick("SA2", 20)
    sim.plan("quickpay", "SA3", fate="pending:9")
    sim.quick("SA3", 10)
    assert lines(sim, "SA") == [["SA1", "OSA1", "30", "1"], ["SA2", "OSA2", "20", "2"]]
    assert bill(sim, "quickpay", "utf-8")[-1][0] == "#total"


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"differ": "missing"}, []),
        ({"differ": "amount", "amount": 31}, [["OSB", "31", "1"]]),
        ({"differ": "state"}, [["OSB", "30", "2"]]),
        ({"differ": "doubled"}, [["OSB", "30", "1"]] * 2),
        ({"differ": "none"}, [["OSB", "30", "1"]]),
    ],
)
def test_a_line_differs_as_told(sim: Sim, how: dict[str, Any], expected: list[Any]) -> None:
    sim.quick("SB", 30)
    differ(sim, refund="SB", **how)
    assert [line[1:] for line in lines(sim, "SB")] == expected
    assert sim.entry("SB")["executions"] == 1


def test_a_bill_may_have_what_the_book_has_not(sim: Sim) -> None:
    differ(sim, refund="SC", differ="extra", order="OSC", amount=5)
    assert lines(sim, "SC") == [["SC", "OSC", "5", "1"]]
    assert sim.book(refund="SC") == []


def test_baofu_writes_gbk_and_below_zero_and_hkrt_a_mark_and_yuan(sim: Sim) -> None:
    sim.hkrt("SD1", "0.50")
    (line,) = [row for row in bill(sim, "hkrt", "utf-8-sig") if row[0] == "SD1"]
    assert (line[3], line[5]) == ("0.50", "退款成功")
    differ_baofu = {"provider": "baofu", "refund": "SD2", "differ": "extra", "order": "O"}
    sim.control("statement", [differ_baofu | {"amount": 105}])
    rows = bill(sim, "baofu", "gbk")
    assert rows[0] == ["宝付退款对账单"]
    (line,) = [row for row in rows if row[0] == "SD2"]
    assert (line[3], line[5]) == ("-1.05", "成功")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"differ": "colour"}, "known are missing"),
        ({"differ": "amount"}, "an integer of fen"),
        ({"differ": "extra", "amount": 5}, "needs an order"),
    ],
)
def test_what_cannot_be_meant_is_refused(sim: Sim, how: dict[str, Any], said: str) -> None:
    message = [{"provider": "quickpay", "refund": "SE", **how}]
    answer = requests.post(f"{sim.url}/_sim/statement", json=message, timeout=5)
    assert answer.status_code == 400
    assert said in answer.text
