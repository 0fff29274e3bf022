"""What the command line says of notifications, stored and refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.settings import load_settings
from refundry import TASK_REQUEST
from tests.integration.command_line import installed, invoke
from tests.integration.notifications import EXECUTED, notification
from worker.runtime import build_runtime
from worker.steps.intake import take_job
from worker.steps.notify import take_notification

ACCOUNTS = """
[accounts.shop]
provider = "hkrt"
base_url = "http://127.0.0.1:1/hk"
access_id = "cpostest"
access_key = "123456789ABCDEF"
"""
JOB = {"account": "shop", "order_no": "O1", "refund_no": "R1", "amount": 10, "order_amount": 100}
BODY = notification(EXECUTED, refunded_amount="0.10", remanent_amount="0.90", msg="退款“成功”")

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on a ledger with a notification that was taken and one that was not."""
    runtime = installed(tmp_path, monkeypatch, ACCOUNTS)
    take_job(runtime, TASK_REQUEST, JOB)
    for body in (BODY, BODY[:-9]):
        take_notification(runtime, "shop", "application/json", body)

    def run(*arguments: str, code: int = 0) -> str:
        done = invoke(*arguments)
        assert done.exit_code == code, done.stderr
        return done.stdout

    return run


def read(text: str) -> Any:
    return json.loads(text)


def test_notifications_are_listed_without_their_bytes(run: Run) -> None:
    (row,) = read(run("callbacks", "--json"))
    shown = {name: row[name] for name in ("account", "refund_no", "verdict", "times", "bytes")}
    whose = {"account": "shop", "refund_no": "R1"}
    assert shown == {**whose, "verdict": "succeeded", "times": 1, "bytes": len(BODY)}
    assert "body" not in row
    assert read(run("callbacks", "--account=till", "--json")) == []
    assert read(run("callbacks", "--refund-no=R2", "--json")) == []
    assert "succeeded" in run("callbacks", "--refund-no", "R1")


def test_the_bytes_of_one_are_printed_as_text(run: Run) -> None:
    assert run("callbacks", "show", "1") == BODY.decode() + "\n"
    assert read(run("callbacks", "show", "1", "--json")) == {"id": 1, "body": BODY.decode()}
    assert run("callbacks", "show", "2", code=1) == ""


def test_what_a_terminal_would_obey_is_escaped(run: Run) -> None:
    body = notification(EXECUTED).replace(b"{", b'{\t"note":"",\r\n', 1)
    take_notification(build_runtime(load_settings()), "shop", "\x1b[2J", body)
    assert '{\\t"note":"",\\r\n' in run("callbacks", "show", "2")


def test_brackets_and_colons_of_a_producer_are_no_markup(run: Run) -> None:
    odd = "[/O2][link]:bug:"
    take_job(
        build_runtime(load_settings()), TASK_REQUEST, JOB | {"order_no": odd, "refund_no": "R2"}
    )
    for command in (("status", "R2"), ("list",)):
        assert odd in run(*command)


def test_those_that_were_refused_are_counted(run: Run) -> None:
    (row,) = read(run("callbacks", "refused", "--json"))
    assert (row["account"], row["code"], row["times"]) == ("shop", "unreadable", 1)
    assert "unreadable" in run("callbacks", "refused")


def test_a_refunds_status_shows_its_notifications_and_what_the_provider_says_of_the_order(
    run: Run,
) -> None:
    shown = read(run("status", "R1", "--json"))
    assert [one["verdict"] for one in shown["callbacks"]] == ["succeeded"]
    assert shown["events"][-1]["detail"]["callback"] == shown["callbacks"][0]["id"]
    assert (shown["order"]["provider_refunded"], shown["order"]["provider_left"]) == (10, 90)
    assert "The provider's own messages" in run("status", "R1", "--language=en")
