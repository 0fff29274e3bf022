"""``refundry request|status|list|export|resubmit|cancel``."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from config.settings import load_settings
from refundry import InvalidRequest, RefundClient, RefundRequest, State
from worker.cli.bell import wake_orders
from worker.cli.output import (
    EXIT_REFUSED,
    EXIT_USAGE,
    fail,
    print_done,
    print_json,
    print_records,
    print_rows,
    write_file,
)
from worker.cli.setting import open_ledger
from worker.cli.stories import InLanguage, print_story, words_in
from worker.ledger import case_reports, reports
from worker.ledger.callbacks import callbacks_of
from worker.ledger.cases import entries_of
from worker.ledger.proposals import proposals_of
from worker.ledger.refunds import find_refunds_by_number, order_and_refund
from worker.ledger.rows import Refund
from worker.runtime import build_runtime
from worker.steps.command import cancel_refund
from worker.timeline.page import page
from worker.timeline.story import story_of_refund

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AccountName = Annotated[str, typer.Option("--account", help="Account of accounts.toml.")]


def request(
    account: Annotated[str | None, typer.Option(help="Account of accounts.toml.")] = None,
    order_no: Annotated[str | None, typer.Option(help="The paid order.")] = None,
    refund_no: Annotated[str | None, typer.Option(help="This refund's number.")] = None,
    amount: Annotated[int | None, typer.Option(help="What to refund, in fen.")] = None,
    order_amount: Annotated[int | None, typer.Option(help="The order's total, in fen.")] = None,
    paid_amount: Annotated[int | None, typer.Option(help="What was paid, in fen.")] = None,
    refunded_before: Annotated[int | None, typer.Option(help="Refunded elsewhere, fen.")] = None,
    expected_refunded: Annotated[int | None, typer.Option(help="Believed refunded, fen.")] = None,
    paid_at: Annotated[str | None, typer.Option(help="When it was paid, ISO 8601.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
    operator: Annotated[str | None, typer.Option(help="Who asks.")] = None,
    file: Annotated[
        str | None, typer.Option(help="Jobs as JSON lines; - is standard input.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Enqueue a refund, or a file of them."""
    given = {name: value for name, value in locals().items() if value is not None}
    given = {name: value for name, value in given.items() if name not in ("file", "as_json")}
    if (file is None) == (not given):
        fail("give either --file or the fields of one refund", EXIT_USAGE)
    jobs = enumerate([given]) if file is None else _jobs_of(file)
    _enqueue(jobs, as_json)


def _jobs_of(file: str) -> Iterator[tuple[int, Any]]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read {file}: {error}", EXIT_USAGE)
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, _read_line(number, line)


def _read_line(number: int, line: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_each_name_once)
    except RecursionError:
        fail(f"line {number} is not JSON: it is nested too deeply", EXIT_USAGE)
    except ValueError as error:
        fail(f"line {number} is not JSON: {error}", EXIT_USAGE)


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _enqueue(jobs: Iterator[tuple[int, Any]], as_json: bool) -> None:
    """Every job is read before the first is sent, so that a wrong file enqueues nothing."""
    requests = [_read_job(number, job) for number, job in jobs]
    with RefundClient(load_settings().broker()) as client:
        for one in requests:
            client.request(one)
    numbers = [one.refund_no for one in requests]
    print_done(as_json, f"enqueued {len(numbers)}", {"enqueued": numbers})


def _read_job(number: int, job: Any) -> RefundRequest:
    try:
        return RefundRequest.read(job)
    except InvalidRequest as error:
        where = f"line {number}: " if number else ""
        fail(f"{where}{error}", EXIT_USAGE)


def status(
    refund_no: str,
    account: str | None = None,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Write a page to read, keep or print (HTML).")
    ] = None,
    language: InLanguage = None,
    as_json: Json = False,
) -> None:
    """Show a refund: state, amounts, events, attempts with what was exchanged, cases."""
    ledger = open_ledger()
    with ledger.snapshot() as connection:
        found = find_refunds_by_number(connection, refund_no)
        found = [one for one in found if account in (None, one.account)]
        if not found:
            _not_found(refund_no, reports.refused_of(connection, refund_no), as_json)
        if len(found) > 1:
            accounts = ", ".join(one.account for one in found)
            fail(f"{refund_no} is a refund of {accounts}: say --account", EXIT_USAGE)
        shown = _status_of(connection, found[0])
        now = ledger.now(connection)
    if export_to is not None:
        write_file(export_to, page(shown, words_in(language), now))
        print_done(as_json, f"wrote {export_to}", {"exported": str(export_to)})
    elif as_json:
        print_json(shown)
    else:
        print_story(story_of_refund(shown, words_in(language)))


def _not_found(refund_no: str, refused: list[dict[str, Any]], as_json: bool) -> NoReturn:
    if as_json and refused:
        print_json({"refund_no": refund_no, "state": None, "refused": refused})
    said = f"; refused: {refused[0]['reason']}" if refused else "; intake has not seen it"
    fail(f"no refund {refund_no}{said}", EXIT_REFUSED)


def _status_of(connection: Any, refund: Refund) -> dict[str, Any]:
    order, refund = order_and_refund(connection, refund.id)
    return {
        "account": refund.account,
        "order_no": order.order_no,
        "refund_no": refund.refund_no,
        "state": refund.state,
        "amount": refund.amount,
        "currency": order.currency,
        "provider_refund_no": refund.provider_refund_no,
        "reason": refund.reason,
        "accepted_at": refund.accepted_at,
        "due_at": refund.due_at,
        "asked": refund.asked,
        "last_answer": refund.last_answer,
        "order": {
            "order_amount": order.order_amount,
            "paid_amount": order.paid_amount,
            "refunded_before": order.refunded_before,
            "refunded": order.refunded,
            "reserved": order.reserved,
            "excess": order.excess,
            "provider_refunded": order.provider_refunded,
            "provider_left": order.provider_left,
            "figures_at": order.figures_at,
        },
        **went_through(connection, refund.id),
        "cases": [
            dataclasses.asdict(one) | {"entries": entries_of(connection, one.id)}
            for one in case_reports.cases_of(connection, refund.id)
        ],
    }


def went_through(connection: Any, refund_id: int) -> dict[str, list[dict[str, Any]]]:
    """Attempts, events, notifications and settlements of a refund."""
    return {
        "attempts": reports.attempt_rows(connection, refund_id),
        "events": [dataclasses.asdict(one) for one in reports.timeline(connection, refund_id)],
        "callbacks": callbacks_of(connection, refund_id),
        "proposals": proposals_of(connection, refund_id),
    }


def list_refunds(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    account: Annotated[str | None, typer.Option(help="Only those of this account.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 1000,
    as_json: Json = False,
) -> None:
    """List refunds, the latest first."""
    with open_ledger().read() as connection:
        rows = reports.list_rows(connection, state, account, limit)
    print_records("Refunds (amounts in fen)", reports.ListRow, rows, as_json)


def list_refused(
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100, as_json: Json = False
) -> None:
    """List the jobs that intake refused, the latest first."""
    with open_ledger().read() as connection:
        rows = reports.refused_rows(connection, limit)
    if as_json:
        print_json(rows)
    else:
        print_rows("Refused jobs", rows)


def export() -> None:
    """Print every refund as JSON lines, in the order of intake."""
    for row in reports.export_rows(open_ledger()):
        print_json(dataclasses.asdict(row))


def resubmit(
    refund_no: str,
    account: AccountName,
    after_attempt: Annotated[int, typer.Option(min=1, help="The attempt that failed.")],
    as_json: Json = False,
) -> None:
    """Ask for a failed refund to be sent again under its own number."""
    with RefundClient(load_settings().broker()) as client:
        client.resubmit(account, refund_no, after_attempt)
    print_done(as_json, f"asked for {refund_no} to be sent again", {"resubmit": refund_no})


def cancel(refund_no: str, account: AccountName, as_json: Json = False) -> None:
    """Cancel a refund of which nothing was sent yet."""
    wake_orders([cancel_refund(build_runtime(load_settings()), account, refund_no)])
    print_done(as_json, f"canceled {refund_no}", {"canceled": refund_no})
