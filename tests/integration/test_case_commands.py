"""``refundry case``: names, reasons, exit codes, and that one person's two names are not enough."""

import getpass
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.command_line import invoke
from tests.integration.test_commands import run as run
from worker.cli.setting import open_ledger
from worker.ledger.journal import open_case, open_case_about
from worker.refund import Case

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def case(run: Run) -> Run:
    """Runs ``refundry case`` on a ledger with a case of its one queued refund."""
    ledger = open_ledger()
    with ledger.write() as connection:
        open_case(connection, 1, Case.AGED, {}, ledger.now(connection))
    return lambda *arguments: run("case", *arguments)


def refused(case: Run, *arguments: str) -> None:
    with pytest.raises(SystemExit, match="1"):
        case(*arguments)


def test_who_is_logged_in_acts_unless_somebody_is_named(case: Run) -> None:
    assert case("note", "1", "--reason=looked")[0] == 0
    case("assign", "1", "wang", "--by=li", "--reason=on leave")
    shown = case("show", "1")[1]
    done = [(one["who"], one["what"], one["detail"]) for one in shown["entries"]]
    login = getpass.getuser()
    assert done[1] == (login, "noted", {})
    assert done[2] == ("li", "assigned", {"login": login, "owner": "wang", "before": "operations"})
    assert (shown["owner"], shown["proposals"], shown["attempts"]) == ("wang", [], [])
    assert [row["owner"] for row in case("list")[1]] == ["wang"]


def test_the_list_is_of_what_somebody_wants_to_see(case: Run) -> None:
    wanted = ("--account=shop", "--kind=aged", "--owner=operations")
    assert [row["id"] for row in case("list", *wanted)[1]] == [1]
    for other in ("--account=bistro", "--kind=held", "--owner=wang", "--late"):
        assert case("list", other) == (0, [])
    assert case("list", "--kind=late") == (2, None)
    with open_ledger().write() as connection:
        connection.exec_driver_sql("UPDATE cases SET due_at = '2020-01-01 00:00:00.000000'")
    assert [row["id"] for row in case("list", "--late")[1]] == [1]


@pytest.mark.parametrize(
    "command", ["note", "assign", "ask", "send", "close", "approve", "withdraw"]
)
def test_nothing_is_done_without_a_reason(command: str, case: Run) -> None:
    arguments = [command, "1", *(["wang"] if command == "assign" else [])]
    assert case(*arguments) == (2, None)
    refused(case, *arguments, "--reason= ")


def test_a_case_is_refused_what_cannot_be_done(case: Run) -> None:
    for command in ("ask", "send", "close", "approve", "withdraw"):
        refused(case, command, "1", "--reason=x")
        refused(case, command, "7", "--reason=x")
    refused(case, "settle", "1", "--as=failed", "--reason=x")
    assert case("settle", "1", "--as=lost", "--reason=x") == (2, None)
    assert invoke("case", "show", "7").exit_code == 1


def test_a_settlement_is_proposed_approved_and_shown(case: Run, run: Run) -> None:
    with (
        open_ledger().write() as connection
    ):  # a restored ledger, which may have lost what was sent
        connection.exec_driver_sql("UPDATE accounts SET query_first_since = '2020-01-01 00:00:00'")
    said = ("--as=succeeded", "--reason=it is in the statement", "--evidence=line 7", "--by=li")
    proposed = {"proposal": 1, "case": 1, "refund_no": "R1", "state": "succeeded"}
    assert case("settle", "1", *said) == (0, proposed)
    refused(case, "approve", "1", "--reason=x", "--by=LI")
    assert case("withdraw", "1", "--reason=the wrong line", "--by=li") == (0, proposed)
    assert case("settle", "1", *said)[1]["proposal"] == 2
    refused(case, "approve", "1", "--proposal=1", "--reason=x", "--by=wang")
    approved = case("approve", "1", "--proposal=2", "--reason=seen", "--by=wang")
    assert approved == (0, proposed | {"proposal": 2})
    first, second = case("show", "1")[1]["proposals"]
    assert (first["withdrawn_by"], first["approved_by"]) == ("li", None)
    assert (second["approved_by"], second["evidence"]) == ("wang", "line 7")
    assert (case("list")[1], run("status", "R1")[1]["state"]) == ([], "succeeded")
    assert run("audit")[1]["breaches"] == 0


def test_a_case_and_a_refund_are_shown_to_people_in_their_language(
    case: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    case("note", "1", "--reason=looked", "--by=li")
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    english = ("Not final for too long", "R1", "Opened the case", "looked", "li", "¥0.40")
    chinese = ("长时间没有最终结果", "R1", "创建人工处理", "looked", "li", "¥0.40", "排队中")
    for command in (("case", "show", "1"), ("status", "R1")):
        shown = {language: flat(*command, f"--language={language}") for language in ("en", "zh")}
        missing = [word for word in english if word.replace(" ", "") not in shown["en"]]
        missing += [word for word in chinese if word not in shown["zh"]]
        assert missing == []
        assert flat(*command) == shown["en"]
        monkeypatch.setenv("LANG", "zh_CN.UTF-8")
        assert flat(*command) == shown["zh"]
        monkeypatch.setenv("LC_ALL", "C.UTF-8")
        assert flat(*command) == shown["en"]
        monkeypatch.delenv("LC_ALL")
        monkeypatch.delenv("LANG")


def flat(*command: str) -> str:
    """What a command shows, however its table breaks the lines."""
    return "".join(invoke(*command).stdout.replace("│", "").split())


def test_a_case_of_no_refund_is_shown_without_one(case: Run) -> None:
    ledger = open_ledger()
    with ledger.write() as connection:
        about = ("shop", Case.NOT_OURS, "line 7 of a bill", {"amount": 5})
        open_case_about(connection, *about, ledger.now(connection))
    shown = case("show", "2")[1]
    assert (shown["refund_no"], shown["currency"], "attempts" in shown) == (None, None, False)
    text = invoke("case", "show", "2", "--language=en").stdout
    assert all(word in text for word in ("line 7 of a bill", "not_ours", "amount", "opened"))
