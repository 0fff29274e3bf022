"""What the providers of the simulator tell by themselves, and how it may go wrong."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from simulator.kinds import NOTIFY_FAULTS
from simulator.providers.baofu_envelope import verifies
from simulator.providers.hkrt import signature
from tests.providers.conformance import refund_of
from tests.providers.harness import account, wire_to
from tests.simulator.ear import always, ear, form_of
from tests.simulator.harness import BAOFU_KEYS, KEY, Sim, await_true, signed
from worker.providers.base import load_provider
from worker.providers.rsa import load_public_key

TAKEN = b'{"return_code":"SUCCESS"}'


@pytest.fixture
def number(refund: str) -> str:
    """A refund number that no other test uses, of which more are made by adding to it."""
    return f"TOLD{refund}"


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """A simulator of the test's own, whose dial may be turned."""
    one = Sim(tmp_path / "home")
    yield one
    assert one.stop() == 0


def told(sim: Sim, number: str) -> list[Any]:
    """What was tried of the refund's notifications: fault, state, try, acknowledged."""
    return [
        (event["fault"], event["state"], event["tries"], event["acknowledged"])
        for event in sim.log(event="notify", refund=number)
    ]


def await_told(sim: Sim, number: str, times: int) -> list[Any]:
    return list(await_true(lambda: len(told(sim, number)) >= times and told(sim, number)))


def test_a_final_refund_is_notified_until_it_is_acknowledged(sim: Sim, number: str) -> None:
    answers = iter([(500, TAKEN[:-1]), (200, b"OK"), (200, TAKEN + b"\n"), (200, TAKEN)])
    with ear(lambda *_: next(answers)) as one:
        sim.hkrt(number, notify_url=one.url)
        tries = await_told(sim, number, 4)
    assert tries == [("ok", "succeeded", n, n == 4) for n in (1, 2, 3, 4)]
    assert len(set(one.heard)) == 1
    said = json.loads(one.heard[0])
    assert said.pop("sign") == signature(said, KEY)
    assert (said["out_refund_no"], int(said["trade_status"])) == (number, 1)


def test_it_gives_up_after_so_many_tries(own: Sim, number: str) -> None:
    own.control("dial", {"provider": "hkrt", "notify_tries": 3})
    with ear(always(b"no")) as one:
        own.hkrt(number, notify_url=one.url)
        assert [tries for _, _, tries, _ in await_told(own, number, 3)] == [1, 2, 3]
        own.hkrt(f"{number}b", notify_url=one.url)
        await_told(own, f"{number}b", 3)
    assert len(told(own, number)) == 3


@pytest.mark.parametrize("url", ["http://pay.example/x", "https://127.0.0.1/x", "file:///x", "::"])
def test_nobody_outside_of_this_machine_is_called(sim: Sim, number: str, url: str) -> None:
    sim.hkrt(number, notify_url=url)
    (event,) = await_true(lambda: sim.log(event="notify", refund=number))
    assert (event["tries"], event["status"], event["acknowledged"]) == (0, None, False)


def test_a_decline_is_told_and_a_pending_refund_once_a_query_settles_it(
    sim: Sim, number: str
) -> None:
    sim.plan("hkrt", f"{number}a", fate="decline")
    sim.plan("hkrt", f"{number}b", fate="pending:1")
    with ear(always(TAKEN)) as one:
        for end in "ab":
            sim.hkrt(number + end, notify_url=one.url)
        assert await_told(sim, f"{number}a", 1) == [("ok", "failed", 1, True)]
        assert told(sim, f"{number}b") == []
        sim.hkrt_query(out_refund_no=f"{number}b")
        assert await_told(sim, f"{number}b", 1) == [("ok", "succeeded", 1, True)]


@pytest.mark.parametrize(
    ("fate", "state"), [("pending:9", "succeeded"), ("pending_decline:9", "failed")]
)
def test_what_is_pending_settles_by_itself_in_time_and_is_told(
    sim: Sim, number: str, fate: str, state: str
) -> None:
    sim.plan("hkrt", number, fate=fate, settle_s=0.3)
    with ear(always(TAKEN)) as one:
        sim.hkrt(number, notify_url=one.url)
        assert sim.entry(number)["state"] == "pending"
        assert await_told(sim, number, 1) == [("ok", state, 1, True)]
    assert sim.entry(number)["state"] == state
    assert sim.entry(number)["executions"] == (state == "succeeded")


def test_what_a_query_has_settled_does_not_settle_again(sim: Sim, number: str) -> None:
    sim.plan("hkrt", number, fate="pending:1", settle_s=0.2)
    with ear(always(TAKEN)) as one:
        sim.hkrt(number, notify_url=one.url)
        sim.hkrt_query(out_refund_no=number)
        await_told(sim, number, 1)
        sim.plan("hkrt", f"{number}b", fate="pending:9", settle_s=0.4)
        sim.hkrt(f"{number}b", notify_url=one.url)
        await_told(sim, f"{number}b", 1)
    assert len(told(sim, number)) == 1
    assert sim.entry(number)["executions"] == 1


def test_each_fault_of_a_notification_does_what_it_is_called(sim: Sim, number: str) -> None:
    shown = {
        "ok": [("succeeded", True)],
        "late:0.2": [("succeeded", True)],
        "twice": [("succeeded", True)] * 2,
        "none": [],
        "contradicting": [("failed", True)],
        "reordered": [("succeeded", True), ("pending", True)],
        "stale": [("succeeded", True)],
        "wrong_amount": [("succeeded", True)],
        "forged": [("succeeded", True)],
    }
    assert {fault.partition(":")[0] for fault in shown} == NOTIFY_FAULTS
    with ear(always(TAKEN)) as one:
        for index, (fault, expected) in enumerate(shown.items()):
            refund = f"{number}x{index}"
            sim.plan("hkrt", refund, notify=[fault])
            sim.hkrt(refund, notify_url=one.url)
            if expected:
                tries = await_told(sim, refund, len(expected))
                assert [(state, ok) for _, state, _, ok in tries] == expected
    said = [json.loads(body) for body in one.heard]
    forged = [one for one in said if one.pop("sign") != signature(one, KEY)]
    wrong = [one for one in said if one["refund_amount"].strip("-") == "0.51"]
    assert [one["out_refund_no"] for one in forged] == [f"{number}x8"]
    assert [one["out_refund_no"] for one in wrong] == [f"{number}x7"]
    assert told(sim, f"{number}x3") == []


def test_faults_are_drawn_from_the_seed(tmp_path: Path) -> None:
    drawn = []
    with ear(always(TAKEN)) as one:
        for run in "ab":
            sim = Sim(tmp_path / run, seed=11)
            sim.control("dial", {"provider": "hkrt", "notify": {"twice": 0.4, "reordered": 0.4}})
            for index in range(12):
                sim.hkrt(f"R{index}", notify_url=one.url)
            for index in range(12):
                await_told(sim, f"R{index}", 1)
            drawn.append([told(sim, f"R{index}")[0][0] for index in range(12)])
            assert sim.stop() == 0
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 1


@pytest.mark.parametrize("number_of", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_due_survives_a_restart(tmp_path: Path, number_of: int) -> None:
    home = tmp_path / "home"
    with ear(always(TAKEN)) as one:
        sim = Sim(home)
        sim.plan("hkrt", "R1", notify=["late:1"])
        sim.plan("hkrt", "R2", fate="pending:9", settle_s=1)
        sim.plan("hkrt", "R3", notify=["none"])
        began = time.time()
        for refund in ("R1", "R2", "R3"):
            sim.hkrt(refund, notify_url=one.url)
        sim.stop(number_of)
        assert one.heard == []
        sim = Sim(home)
        assert await_told(sim, "R1", 1) == [("late:1", "succeeded", 1, True)]
        assert await_told(sim, "R2", 1) == [("ok", "succeeded", 1, True)]
        assert sim.log(event="notify")[0]["at"] >= began + 1
        assert sim.stop() == 0
        sim = Sim(home)
        sim.hkrt("R4", notify_url=one.url)
        await_told(sim, "R4", 1)
        assert sim.stop() == 0
    assert len(one.heard) == 3


def test_a_refund_whose_notification_was_not_drawn_yet_is_told_after_a_kill(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    with ear(always(TAKEN)) as one:
        sim = Sim(home)
        sim.hkrt("R1", notify_url=one.url)
        await_told(sim, "R1", 1)
        sim.stop()
        journal = home / "book.jsonl"
        lines = journal.read_text().splitlines(keepends=True)
        journal.write_text("".join(line for line in lines if '"notice"' not in line))
        sim = Sim(home)
        await_told(sim, "R1", 2)
        assert sim.stop() == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"notify": {"drip": 0.1}}, "notify fault"),
        ({"notify": ["ok"]}, "notify"),
        ({"notify_tries": 0}, "notify_tries"),
        ({"notify_tries": True}, "notify_tries"),
        ({"settle_s": -1}, "settle_s"),
        ({"settle_s": "1"}, "settle_s"),
    ],
)
def test_a_dial_that_cannot_be_set_says_why(sim: Sim, change: Any, named: str) -> None:
    answer = requests.post(f"{sim.url}/_sim/dial", json={"provider": "hkrt", **change}, timeout=5)
    assert answer.status_code == 400
    assert named in answer.json()["error"]


def test_baofus_come_in_both_envelopes_rightly_signed(sim: Sim, number: str) -> None:
    key = load_public_key((BAOFU_KEYS / "baofu.pub.pem").read_bytes())
    with ear(always(b"OK")) as one:
        for index in range(8):
            baofu_submit(sim, f"{number}x{index}", one.url)
        for index in range(8):
            assert await_told(sim, f"{number}x{index}", 1) == [("ok", "succeeded", 1, True)]
    forms = [body for body in one.heard if not body.startswith(b"{")]
    assert 0 < len(forms) < 8
    for body in one.heard:
        envelope = json.loads(body) if body.startswith(b"{") else form_of(body)
        assert envelope["notifyType"] == "REFUND"
        assert verifies(key, envelope["dataContent"], envelope["signStr"])
        content = json.loads(envelope["dataContent"])
        assert (content["merId"], content["terId"]) == ("100000", "100001")
        assert (content["refundState"], content["succAmt"]) == ("SUCCESS", 50)


def baofu_submit(sim: Sim, refund: str, url: str) -> None:
    settings = account("baofu", sim.url + "/bf/api", notify_url=url)
    with wire_to(sim.url) as wire:
        wire.post(load_provider(settings).submission(refund_of(refund)))


def test_a_refund_of_somebody_who_does_not_want_to_know_is_not_told(sim: Sim, number: str) -> None:
    body = {"out_refund_no": number, "out_trade_no": f"O{number}", "refund_amount": "0.50"}
    sim.post("/hk/api/v1/pay/wx/refund", signed(body))
    with ear(always(TAKEN)) as one:
        sim.hkrt(f"{number}b", notify_url=one.url)
        await_told(sim, f"{number}b", 1)
    assert told(sim, number) == []
