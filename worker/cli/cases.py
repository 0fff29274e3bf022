"""``refundry case``: what a person has to look at, and what people do about it."""

import dataclasses
import getpass
from typing import Annotated, Any

import typer

from config.settings import load_settings
from refundry import State
from worker.cli.bell import have_asked, wake_orders
from worker.cli.output import (
    EXIT_REFUSED,
    EXIT_USAGE,
    fail,
    print_done,
    print_json,
    print_records,
)
from worker.cli.refunds import Json, went_through
from worker.cli.setting import open_ledger
from worker.cli.stories import InLanguage, print_story, words_in
from worker.ledger import case_reports
from worker.ledger.cases import CaseRow, entries_of, find_case
from worker.refund import Case
from worker.runtime import build_runtime
from worker.steps import cases, settlements
from worker.steps.people import Person, person
from worker.steps.settlements import Settlement
from worker.timeline.story import story_of_case

case_commands = typer.Typer(help="Cases: what a person has to look at.", no_args_is_help=True)
By = Annotated[str | None, typer.Option(help="Who does it; default: who is logged in here.")]
Reason = Annotated[str, typer.Option(help="Why, for people.")]


@case_commands.command("list")
def list_cases(
    account: Annotated[str | None, typer.Option(help="Only those of this account.")] = None,
    kind: Annotated[Case | None, typer.Option(help="Only those of this kind.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only those that somebody owns.")] = None,
    late: Annotated[
        bool, typer.Option("--late", help="Only those that should have been closed by now.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 1000,
    as_json: Json = False,
) -> None:
    """List the open cases, the oldest first."""
    ledger = open_ledger()
    with ledger.read() as connection:
        late_at = ledger.now(connection) if late else None
        found = case_reports.open_cases(
            connection, limit, late_at=late_at, account=account, kind=kind, owner=owner
        )
    print_records("Open cases (amounts in fen)", case_reports.ShownCase, found, as_json)


@case_commands.command("show")
def show_case(case_id: int, language: InLanguage = None, as_json: Json = False) -> None:
    """Show one case with its evidence, what was done about it, and what its refund went through."""
    shown = _shown(case_id)
    if as_json:
        print_json(shown)
    else:
        print_story(story_of_case(shown, words_in(language)))


def _shown(case_id: int) -> dict[str, Any]:
    with open_ledger().snapshot() as connection:
        row, found = case_reports.get_case(connection, case_id), find_case(connection, case_id)
        if row is None or found is None:
            fail(f"there is no case {case_id}", EXIT_REFUSED)
        shown = dataclasses.asdict(row) | {"entries": entries_of(connection, case_id)}
        if found.refund_id is None:
            return shown
        return shown | went_through(connection, found.refund_id)


def who_acts(by: str | None, reason: str) -> Person:
    """Who is named, or else who is logged in."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        login = None
    name = by or login
    if name is None:
        fail("nobody is logged in here by name: say --by", EXIT_USAGE)
    return person(name, reason, login)


@case_commands.command("note")
def note(case_id: int, reason: Reason, by: By = None, as_json: Json = False) -> None:
    """Add your words (--reason) to a case."""
    done = cases.note(build_runtime(load_settings()), case_id, who_acts(by, reason))
    _print_done(as_json, f"noted in case {case_id}", done)


@case_commands.command("assign")
def assign(case_id: int, owner: str, reason: Reason, by: By = None, as_json: Json = False) -> None:
    """Give a case to somebody."""
    done = cases.assign(build_runtime(load_settings()), case_id, owner, who_acts(by, reason))
    _print_done(as_json, f"case {case_id} is {done.owner}'s", done)


@case_commands.command("ask")
def ask(case_id: int, reason: Reason, by: By = None, as_json: Json = False) -> None:
    """Have the provider asked about the case's refund now, or as soon as it allows."""
    done = cases.ask(build_runtime(load_settings()), case_id, who_acts(by, reason))
    have_asked(done.account)
    _print_done(as_json, f"{done.account}'s provider is asked about {done.subject}", done)


@case_commands.command("send")
def send(case_id: int, reason: Reason, by: By = None, as_json: Json = False) -> None:
    """Send the case's refund once more under its number, where that cannot pay twice."""
    done = cases.send(build_runtime(load_settings()), case_id, who_acts(by, reason))
    wake_orders([done.order_id] if done.order_id else [])
    _print_done(as_json, f"{done.subject} is queued again", done)


@case_commands.command("close")
def close(case_id: int, reason: Reason, by: By = None, as_json: Json = False) -> None:
    """Close a case of which nothing is open."""
    done = cases.close(build_runtime(load_settings()), case_id, who_acts(by, reason))
    _print_done(as_json, f"closed case {case_id}", done)


@case_commands.command("settle")
def settle(
    case_id: int,
    state: Annotated[State, typer.Option("--as", help="How the refund ended.")],
    reason: Reason,
    evidence: Annotated[str, typer.Option(help="What shows it; default: the reason.")] = "",
    by: By = None,
    as_json: Json = False,
) -> None:
    """Propose how the case's refund ended; another person has to approve it."""
    runtime = build_runtime(load_settings())
    done = settlements.propose(runtime, case_id, state, who_acts(by, reason), evidence)
    line = f"proposal {done.proposal}: {done.refund_no} {done.state}; another person approves it"
    _print_settlement(as_json, line, done)


@case_commands.command("approve")
def approve(
    case_id: int,
    reason: Reason,
    proposal: Annotated[int | None, typer.Option(help="Only this one, by its number.")] = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Settle the case's refund as another person has proposed, or let a large one be sent."""
    runtime = build_runtime(load_settings())
    done = settlements.approve(runtime, case_id, who_acts(by, reason), proposal)
    becomes = "is sent" if done.state is State.SUBMITTING else f"is {done.state}"
    _print_settlement(as_json, f"{done.refund_no} {becomes}", done)


@case_commands.command("withdraw")
def withdraw(case_id: int, reason: Reason, by: By = None, as_json: Json = False) -> None:
    """Take back what is proposed of the case's refund."""
    done = settlements.withdraw(build_runtime(load_settings()), case_id, who_acts(by, reason))
    _print_settlement(as_json, f"proposal {done.proposal} is withdrawn", done)


def _print_done(as_json: bool, line: str, case: CaseRow) -> None:
    shown = ("id", "account", "kind", "subject", "owner", "closed_at")
    print_done(as_json, line, {name: getattr(case, name) for name in shown})


def _print_settlement(as_json: bool, line: str, done: Settlement) -> None:
    shown = ("proposal", "case", "refund_no", "state")
    print_done(as_json, line, {name: getattr(done, name) for name in shown})
