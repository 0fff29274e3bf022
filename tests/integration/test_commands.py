"""The command line on a ledger of its own: what it prints, and the codes it ends with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refundry import TASK_REQUEST
from tests.integration.builders import run as execute
from tests.integration.command_line import installed, invoke
from worker.cli import main
from worker.cli.setting import open_ledger
from worker.steps.intake import take_job

ACCOUNTS = """
[accounts.shop]
provider = "quickpay"
base_url = "http://127.0.0.1:1/qp"
store_no = "S1"
operator = "ops"
"""
JOB = {
    "account": "shop",
    "order_no": "O1",
    "refund_no": "R1",
    "amount": 40,
    "order_amount": 100,
}

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command with ``--json`` on a ledger with one queued refund: exit code, output."""
    runtime = installed(tmp_path, monkeypatch, ACCOUNTS)
    assert take_job(runtime, TASK_REQUEST, JOB) is not None

    def run(*arguments: str) -> tuple[int, Any]:
        done = invoke(*arguments, "--json")
        return done.exit_code, json.loads(done.stdout) if done.stdout else None

    return run


def test_an_order_is_held_and_released_by_its_token_or_by_a_person_with_a_reason(
    run: Run,
) -> None:
    code, held = run("hold", "O1", "--account=shop", "--by=li")
    assert (code, held["held"]) == (0, "O1")
    assert run("hold", "O1", "--account=shop", "--by=li") == (0, held)
    with pytest.raises(SystemExit, match="1"):
        run("hold", "O1", "--account=shop", "--by=wang")
    for other in ("another", "ein anderer für O1"):
        with pytest.raises(SystemExit, match="1"):
            run("release", "O1", "--account=shop", f"--token={other}")
    released = (0, {"released": "O1"})
    assert run("release", "O1", "--account=shop", f"--token={held['token']}") == released
    run("hold", "O1", "--account=shop", "--by=li")
    assert run("release", "O1", "--account=shop") == (2, None)
    with pytest.raises(SystemExit, match="1"):
        run("release", "O1", "--account=shop", "--reason= ")
    assert run("release", "O1", "--account=shop", "--by=wang", "--reason=li is ill") == released
    shown = run("case", "show", "1")[1]
    assert (shown["kind"], shown["subject"], shown["evidence"]["held_by"]) == ("held", "O1", "li")
    done = [(one["who"], one["what"], one["reason"]) for one in shown["entries"]]
    assert done[1:] == [("wang", "released", "li is ill"), ("wang", "closed", "li is ill")]


def test_what_was_never_sent_is_canceled_once(run: Run) -> None:
    assert run("cancel", "R1", "--account=shop") == (0, {"canceled": "R1"})
    assert run("status", "R1")[1]["state"] == "canceled"
    with pytest.raises(SystemExit, match="1"):
        run("cancel", "R1", "--account=shop")
    assert run("audit")[1]["breaches"] == 0


def test_an_account_is_paused_and_resumed(run: Run) -> None:
    assert run("pause", "shop", "--reason=month's end") == (0, {"paused": "shop"})
    with pytest.raises(SystemExit, match="1"):
        run("pause", "shop")
    assert run("resume", "shop") == (0, {"resumed": "shop"})
    with pytest.raises(SystemExit, match="1"):
        run("resume", "shop")


def test_after_a_restore_an_account_asks_first_until_that_is_ended(run: Run) -> None:
    code, said = run("query-first", "begin", "--reason=the backup of noon")
    assert (code, said) == (0, {"begun": [{"account": "shop", "to_ask": 1}]})
    ((_, (shown,)), (_, audited)) = run("accounts"), run("audit")
    assert (shown["query_first_reason"], shown["uncleared"]) == ("the backup of noon", 1)
    assert [(one["row"], one["warning"]) for one in audited["findings"]] == [("account shop", True)]
    assert "query-first end" in invoke("doctor").stdout
    with pytest.raises(SystemExit, match="1"):
        run("query-first", "end", "shop")
    assert run("query-first", "end", "shop", "--even-so") == (2, None)
    run("query-first", "end", "shop", "--even-so", "--reason=Li has compared the statement")
    assert run("accounts")[1][0]["query_first_since"] is None


def test_accounts_are_shown_with_what_stops_them_and_what_waits(run: Run) -> None:
    idle = {
        "account": "shop",
        "provider": "quickpay",
        "merchant": "quickpay/shop",
        "paused_at": None,
        "paused_reason": None,
        "paused_by": None,
        "breaker": "closed",
        "breaker_until": None,
        "failures": 0,
        "query_first_since": None,
        "query_first_reason": None,
        "uncleared": 0,
        "waiting": 1,
        "waiting_amount": 40,
        "short_of_funds": 0,
        "short_of_funds_amount": 0,
        "funds_next_at": None,
    }
    assert run("accounts") == (0, [idle])
    run("pause", "shop", "--reason=month's end", "--by=li")
    paused = run("accounts")[1][0]
    assert (paused["paused_reason"], paused["paused_by"]) == ("month's end", "li")
    run("resume", "shop")
    run("cancel", "R1", "--account=shop")
    assert run("accounts") == (0, [idle | {"waiting": 0, "waiting_amount": 0}])


def test_an_open_breaker_is_shown_and_closed_by_resume(run: Run) -> None:
    open_until("2999-01-01 00:00:00.000000")
    (shown,) = run("accounts")[1]
    assert (shown["breaker"], shown["breaker_until"][:10]) == ("open", "2999-01-01")
    open_until("2020-01-01 00:00:00.000000")
    assert run("accounts")[1][0]["breaker"] == "half_open"
    assert run("resume", "shop") == (0, {"resumed": "shop"})
    assert run("accounts")[1][0]["breaker"] == "closed"


def open_until(time: str) -> None:
    """Open the breaker, as the ledger stores it."""
    with open_ledger().write() as connection:
        execute(connection, f"UPDATE accounts SET failures = 5, breaker_until = '{time}'")


@pytest.mark.parametrize("line", ["[" * 100_000, '{"amount": 1, "amount": 100}', "{"])
def test_a_file_with_a_line_that_is_no_plain_json_enqueues_nothing(
    line: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "jobs").write_text(f"{json.dumps(JOB)}\n{line}\n")
    assert run("request", "--file", str(tmp_path / "jobs")) == (2, None)


def test_an_argument_that_is_no_text_is_a_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["refundry", "status", "R\udcff"])
    with pytest.raises(SystemExit, match="2"):
        main()


def test_lists_speak_json(run: Run) -> None:
    assert [row["refund_no"] for row in run("list", "--state=queued")[1]] == ["R1"]
    assert run("list", "--state=failed")[1] == []
    assert run("case", "list")[1] == []
    assert run("refused")[1] == []


def test_a_broker_that_is_away_ends_with_three(run: Run) -> None:
    fields = ("--account=shop", "--order-no=O", "--refund-no=R", "--amount=1", "--order-amount=2")
    with pytest.raises(SystemExit, match="3"):
        run("request", *fields)
    with pytest.raises(SystemExit, match="3"):
        run("resubmit", "R1", "--account=shop", "--after-attempt=1")


def test_a_token_is_for_known_accounts_and_its_name_is_used_once(run: Run) -> None:
    code, made = run("token", "create", "till", "--account=shop")
    assert (code, made["name"], made["accounts"]) == (0, "till", ["shop"])
    assert made["token"].startswith("refundry_")
    for wrong in (("till", "--account=shop"), ("x", "--account=nobody"), ("a b", "--account=*")):
        with pytest.raises(SystemExit, match="1"):
            run("token", "create", *wrong)
    assert [row["name"] for row in run("token", "list")[1]] == ["till"]
    assert run("token", "revoke", "till") == (0, {"revoked": "till"})
    with pytest.raises(SystemExit, match="1"):
        run("token", "create", "till", "--account=shop")


def test_a_refunds_page_is_written_in_either_language(run: Run, tmp_path: Path) -> None:
    for language, words in (("en", "Queued (queued)"), ("zh", "排队中 (queued)")):
        out = tmp_path / f"{language}.html"
        done = run("status", "R1", f"--export={out}", f"--language={language}")
        assert done == (0, {"exported": str(out)})
        text = out.read_text(encoding="utf-8")
        assert f"<td>{words}</td>" in text
        assert '<td class="money">¥0.40</td>' in text
    run("cancel", "R1", "--account=shop")
    run("status", "R1", f"--export={out}")
    assert "It was canceled" in out.read_text(encoding="utf-8")


def test_a_page_of_what_is_not_there_or_cannot_be_written_is_refused(
    run: Run, tmp_path: Path
) -> None:
    assert run("status", "R2", f"--export={tmp_path}/x.html")[0] == 1
    assert not (tmp_path / "x.html").exists()
    assert run("status", "R1", f"--export={tmp_path}")[0] == 2
    assert run("status", "R1", "--export=x.html", "--language=de")[0] == 2
