"""The log, the controls, the draws, and the life of the process."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from simulator.draws import chance, pick
from tests.simulator.harness import (
    ROOT,
    Sim,
    command,
    quick_body,
    raw_submit,
    read_all,
    state_on_wire,
)


class TestLog:
    def test_overlap_names_what_is_handled_or_pending(self, sim: Sim, refund: str) -> None:
        order = f"O{refund}"
        sim.plan("quickpay", f"{refund}a", submit=["timeout_after"])
        sim.plan("quickpay", f"{refund}b", fate="pending:1")
        with raw_submit(sim, f"{refund}a") as held:
            # The raw submit has an order of its own; the one under test shares it.
            sim.await_log(event="submit", refund=f"{refund}a")
            sim.quick(f"{refund}b", order_no=f"O{refund}a")
            sim.quick(f"{refund}c", order_no=f"O{refund}a")
            sim.quick(f"{refund}d", order_no=order)
            held.close()
        sim.quick_query(f"{refund}b", order=f"O{refund}a")
        overlaps = {
            e["refund"][-1]: e["overlap"]
            for e in sim.log(event="submit_in")
            if e["refund"].startswith(refund)
        }
        assert overlaps == {
            "a": [],
            "b": [f"{refund}a"],
            "c": [f"{refund}a", f"{refund}b"],
            "d": [],
        }

    @pytest.mark.parametrize("fault", ["timeout_after", "drip", "reset_after", "late:0.2"])
    def test_a_client_that_left_overlaps_nothing(self, sim: Sim, refund: str, fault: str) -> None:
        sim.plan("quickpay", refund, submit=[fault])
        with raw_submit(sim, refund):
            sim.await_log(event="submit", refund=refund)
        sim.quick_query(refund)
        sim.quick(f"{refund}x", order_no=f"O{refund}")
        assert sim.log(event="submit_in", refund=f"{refund}x")[0]["overlap"] == []

    def test_an_answered_submit_overlaps_nothing(self, sim: Sim, refund: str) -> None:
        with requests.Session() as session:
            for number in range(50):
                body = quick_body(f"{refund}{number}", 1, order_no=f"O{refund}")
                session.post(f"{sim.url}/qp/QuickPay/Refund", json=body, timeout=5)
        events = [e for e in sim.log(event="submit_in") if e["refund"].startswith(refund)]
        assert [event["overlap"] for event in events] == [[]] * 50

    def test_tells_arrival_execution_and_answer_in_that_order(self, sim: Sim, refund: str) -> None:
        sim.quick(refund)
        events = sim.log(provider="quickpay", order=f"O{refund}", refund=refund, amount=30)
        assert [event["event"] for event in events] == ["submit_in", "EXECUTED", "submit"]
        assert events[1]["fate"] == "succeed"
        assert events[2]["facts"] == {
            "processed": True,
            "state": "succeeded",
            "code": "SUCCESS",
            "status": "REFUNDED",
        }
        assert all(abs(event["at"] - time.time()) < 60 for event in events)


class TestControl:
    def test_the_dial_merges_and_answers_itself_whole(self, sim: Sim) -> None:
        sim.control("dial", {"provider": "quickpay", "query": {"slow:1": 0.25}})
        dial = sim.control("dial", {"provider": "quickpay", "latency_s": [0, 0.001]})
        assert dial == requests.get(f"{sim.url}/_sim/dial", timeout=5).json()
        assert dial["quickpay"]["query"] == {"slow:1": 0.25}
        assert dial["quickpay"]["latency_s"] == [0, 0.001]
        sim.control("dial", {"provider": "quickpay", "query": {}, "latency_s": [0, 0]})

    @pytest.mark.parametrize(
        ("path", "message", "word"),
        [
            ("dial", {"provider": "nobody"}, "nobody"),
            ("dial", {"provider": "hkrt", "volume": 11}, "volume"),
            ("dial", {"provider": "hkrt", "submit": {"explode": 0.1}}, "explode"),
            ("dial", {"provider": "hkrt", "submit": {"slow": 0.1}}, "slow:NUMBER"),
            ("dial", {"provider": "hkrt", "submit": {"slow:nan": 0.1}}, "seconds"),
            ("dial", {"provider": "hkrt", "query": {"timeout_after": 0.1}}, "timeout_after"),
            ("dial", {"provider": "hkrt", "submit": {"garbage": 1.5}}, "1.5"),
            ("dial", {"provider": "hkrt", "fate": {"decline": 0.6, "pending:1": 0.6}}, "add up"),
            ("dial", {"provider": "hkrt", "fate": {"pending:x": 0.1}}, "whole number"),
            ("dial", {"provider": "hkrt", "latency_s": [2, 1]}, "latency_s"),
            ("dial", {"provider": "hkrt", "decline_frees_number": 1}, "decline_frees_number"),
            ("dial", [], "object"),
            ("plan", {}, "list"),
            ("plan", [{"provider": "hkrt"}], "refund"),
            ("plan", [{"provider": "hkrt", "refund": "1", "submit": "ok"}], "list"),
            ("plan", [{"provider": "hkrt", "refund": "1", "subnit": []}], "subnit"),
            ("orders", [{"provider": "hkrt", "order": "1", "paid": 1.5}], "paid"),
            ("orders", [{"provider": "hkrt", "paid": 1}], "order"),
            ("outage", {"provider": "hkrt"}, "seconds"),
            ("outage", {"provider": "nobody", "seconds": 1}, "nobody"),
        ],
    )
    def test_bad_input_is_answered_with_what_was_wrong(
        self, sim: Sim, path: str, message: Any, word: str
    ) -> None:
        answer = sim.post(f"/_sim/{path}", message)
        assert answer.status_code == 400
        assert word in answer.json()["error"]

    def test_a_body_that_is_not_json_is_bad_input(self, sim: Sim) -> None:
        answer = requests.post(f"{sim.url}/_sim/dial", b"{", timeout=5)
        assert (answer.status_code, answer.json()) == (400, {"error": "the body is not JSON"})

    def test_an_outage_answers_503_and_processes_nothing(self, sim: Sim, refund: str) -> None:
        sim.control("outage", {"provider": "quickpay", "seconds": 60})
        assert sim.quick(refund).status_code == 503
        assert str(sim.hkrt(refund)["return_code"]) == "10000"
        assert sim.book(refund=refund, provider="quickpay") == []
        sim.control("outage", {"seconds": 0})
        assert sim.quick(refund).status_code == 200


class TestDraws:
    def test_shares_are_kept_and_the_rest_is_ok(self) -> None:
        weights = {"b": 0.3, "a": 0.2}
        picks = [pick(weights, "ok", chance(7, "submit", "x", "R", n)) for n in range(5000)]
        shares = {name: picks.count(name) / len(picks) for name in ("a", "b", "ok")}
        assert shares == {
            "a": pytest.approx(0.2, abs=0.03),
            "b": pytest.approx(0.3, abs=0.03),
            "ok": pytest.approx(0.5, abs=0.03),
        }

    def test_the_same_seed_gives_the_same_fates_in_any_order(self, tmp_path: Path) -> None:
        numbers = [f"DRAW{number:06d}" for number in range(30)]
        dial = {"provider": "quickpay", "fate": {"decline": 0.3, "pending:2": 0.3}}

        def states(name: str, order: list[str], seed: int) -> dict[str, str]:
            sim = Sim(tmp_path / name, seed)
            sim.control("dial", dial)
            answers = {number: state_on_wire(sim.quick(number).json()) for number in order}
            sim.stop()
            return answers

        first = states("a", numbers, 11)
        assert set(first.values()) == {"REFUNDED", "REFUNDFAILED", "CREATE"}
        assert states("b", numbers[::-1], 11) == first
        assert states("c", numbers, 12) != first


class TestProcess:
    def test_a_restart_after_kill_keeps_the_book_and_the_plans(self, tmp_path: Path) -> None:
        sim = Sim(tmp_path / "home")
        sim.plan("quickpay", "PENDING", fate="pending:2", query=["ok", "wrong_amount"])
        sim.quick("DONE")
        sim.quick("PENDING")
        sim.quick_query("PENDING")
        before = sim.book()
        assert sim.stop(signal.SIGKILL) == -signal.SIGKILL
        with (tmp_path / "home" / "book.jsonl").open("a") as journal:
            journal.write('{"do": "record", "prov')
        sim = Sim(tmp_path / "home")
        assert sim.book() == before
        answer = sim.quick_query("PENDING")["data"]
        assert (answer["transaction_status"], answer["refund_amount"]) == ("REFUNDED", 31)
        assert sim.quick("DONE").json()["data"]["transaction_status"] == "REFUNDED"
        assert [entry["executions"] for entry in sim.book()] == [1, 1]
        assert sim.stop() == 0
        assert Sim(tmp_path / "home").stop(signal.SIGINT) == 0

    def test_a_signal_ends_it_at_once_whatever_is_held(self, tmp_path: Path) -> None:
        sim = Sim(tmp_path / "home")
        plans = {"HELD": "timeout_after", "LATE": "late:60", "SLOW": "slow:60", "DRIP": "drip"}
        held = []
        for refund, fault in plans.items():
            sim.plan("quickpay", refund, submit=[fault])
            held.append(raw_submit(sim, refund))
            sim.await_log(event="submit_in", refund=refund)
        began = time.monotonic()
        assert sim.stop() == 0
        assert time.monotonic() - began < 1
        for connection in held[:3]:
            assert read_all(connection) == b""
        held[3].close()

    def test_a_home_in_use_is_refused(self, sim: Sim) -> None:
        merchants = sim.home.with_suffix(".merchants.json")
        assert "in use" in failed_start(command(sim.home, merchants))

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("{", "not JSON"),
            ("[]", "object"),
            ('{"paypal": {}}', "paypal"),
            ('{"hkrt": {"id": {}}}', "access_key"),
            ('{"quickpay": {"id": {}}}', "quickpay"),
        ],
    )
    def test_a_wrong_merchants_file_is_one_line_and_exit_2(
        self, tmp_path: Path, text: str, word: str
    ) -> None:
        path = tmp_path / "merchants.json"
        path.write_text(text)
        assert word in failed_start(command(tmp_path / "home", path))

    def test_a_missing_merchants_file_is_one_line_and_exit_2(self, tmp_path: Path) -> None:
        assert "No such file" in failed_start(command(tmp_path / "home", tmp_path / "none.json"))


def failed_start(arguments: list[str]) -> str:
    """The single line with which a start fails."""
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line
