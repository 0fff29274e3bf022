"""A command rings for a worker at once; a broker that is away fails none, for beat comes by."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.celery_options import QUEUE_POLL, QUEUE_SUBMIT, TASK_POLL, TASK_SUBMIT
from refundry import TASK_REQUEST
from tests.integration.command_line import installed
from tests.simulator.harness import ROOT
from worker.ledger.journal import open_case
from worker.refund import Case, Outcome, Verdict
from worker.runtime import Runtime, suspended_clock
from worker.steps.intake import take_job
from worker.steps.settle import settle
from worker.steps.submit import claim_next

AWAY = "redis://127.0.0.1:1/0"


def accounts(name: str) -> str:
    return (
        f'[accounts.{name}]\nprovider = "quickpay"\nbase_url = "http://127.0.0.1:1/qp"\n'
        'store_no = "S1"\noperator = "ops"\n'
    )


def unknown_with_case(runtime: Runtime, account: str) -> int:
    """A refund that may have been sent, with a case about it; its order."""
    job = {"account": account, "order_no": "O1", "refund_no": "R1"}
    accepted = take_job(runtime, TASK_REQUEST, job | {"amount": 40, "order_amount": 100})
    assert accepted is not None
    intent = claim_next(runtime, accepted.order_id, suspended_clock())
    assert intent is not None
    settle(runtime, intent, Outcome(verdict=Verdict.UNKNOWN))
    with runtime.ledger.write() as connection:
        open_case(connection, accepted.refund_id, Case.AGED, {}, runtime.ledger.now(connection))
    return accepted.order_id


def refundry(*arguments: str) -> dict[str, Any]:
    """A command in a process of its own, as an operator runs it."""
    command = [sys.executable, "-m", "worker.cli", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def rung(url: str, queue: str) -> Iterator[tuple[str, Any]]:
    """Task and keyword arguments of what lies in a queue."""
    with redis.Redis.from_url(url) as client:
        for message in map(json.loads, client.lrange(queue, 0, -1)):
            _, kwargs, _ = json.loads(base64.b64decode(message["body"]))
            yield message["headers"]["task"], kwargs


def test_asking_now_is_asked_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valkey: str, number: str
) -> None:
    runtime = installed(tmp_path, monkeypatch, accounts(number), broker=valkey)
    unknown_with_case(runtime, number)
    assert refundry("case", "ask", "1", "--reason=they say it is booked")["account"] == number
    assert (TASK_POLL, {"account": number}) in rung(valkey, QUEUE_POLL)


def test_what_a_command_lets_go_goes_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valkey: str, number: str
) -> None:
    database = valkey.replace("/0", "/9")  # orders of other tests have the same ids
    runtime = installed(tmp_path, monkeypatch, accounts(number), broker=database)
    job = {"account": number, "order_no": "O1", "refund_no": "R1"}
    accepted = take_job(runtime, TASK_REQUEST, job | {"amount": 40, "order_amount": 100})
    assert accepted is not None
    held = refundry("hold", "O1", f"--account={number}")
    refundry("release", "O1", f"--account={number}", f"--token={held['token']}")
    refundry("cancel", "R1", f"--account={number}")
    woken = (TASK_SUBMIT, {"order_id": accepted.order_id})
    assert list(rung(database, QUEUE_SUBMIT)) == [woken] * 2


def test_a_broker_that_is_away_fails_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    runtime = installed(tmp_path, monkeypatch, accounts(number), broker=AWAY)
    unknown_with_case(runtime, number)
    refundry("case", "ask", "1", "--reason=they say it is booked")
    entries = refundry("case", "show", "1")["entries"]
    assert [one["what"] for one in entries] == ["opened", "asked"]
