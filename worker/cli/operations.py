"""``refundry accounts|audit|db|pause|resume|hold|release``: for operators and finance."""

import dataclasses
from typing import Annotated

import typer

from config.settings import load_settings
from config.visible import visible
from worker.audit import Finding, audit_modes
from worker.audit_imports import audit_import
from worker.cli.bell import wake_orders
from worker.cli.cases import By, who_acts
from worker.cli.output import (
    EXIT_REFUSED,
    EXIT_USAGE,
    fail,
    print_done,
    print_json,
    print_line,
    print_records,
    print_rows,
    print_table,
    yuan,
)
from worker.cli.refunds import AccountName, Json
from worker.cli.setting import open_ledger
from worker.ledger import migrate, reports
from worker.ledger.accounts import entries_of_account
from worker.ledger.import_audit import tallies
from worker.ledger.query_first import modes
from worker.ledger.roles import grants
from worker.runtime import build_runtime
from worker.steps import command, holds
from worker.steps.audit_ledger import audit_all_orders

Reason = Annotated[str, typer.Option(help="Why, for people.")]

db_commands = typer.Typer(help="The ledger's schema.", no_args_is_help=True)


def audit(as_json: Json = False) -> None:
    """Hold the ledger against I1-I10: a line a breach, exit code 1; a backlog is a warning."""
    ledger = open_ledger()
    found: list[Finding] = []
    orders = imports = 0
    with ledger.snapshot() as connection:
        found += audit_modes(modes(connection))
    for findings in audit_all_orders(ledger):
        orders += 1
        found += findings
    with ledger.snapshot() as connection:
        for tally in tallies(connection):
            imports += 1
            found += audit_import(tally)
    breaches = [one for one in found if not one.warning]
    if as_json:
        shown = [dataclasses.asdict(one) for one in found]
        counts = {"orders": orders, "imports": imports, "breaches": len(breaches)}
        print_json(counts | {"findings": shown})
    else:
        for one in found:
            word = "warning" if one.warning else "breach"
            print_line(visible(f"{word} {one.promise} {one.row}: {one.said}"))
        also = f", {imports} imports" if imports else ""
        print_line(f"{orders} orders{also}, {len(breaches)} breaches")
    if breaches:
        raise SystemExit(EXIT_REFUSED)


@db_commands.command("upgrade")
def upgrade(as_json: Json = False) -> None:
    """Create the schema or bring it up to date."""
    migrate.upgrade(load_settings().database())
    print_done(as_json, "the schema is up to date", {"upgraded": True})


@db_commands.command("roles")
def roles(
    worker: Annotated[str, typer.Option(help="Role of workers and beat.")] = "refundry_worker",
    operator: Annotated[
        str, typer.Option(help="Role of operators' commands.")
    ] = "refundry_operator",
    gateway: Annotated[str, typer.Option(help="Role of the gateway.")] = "refundry_gateway",
    reader: Annotated[str, typer.Option(help="Role of finance.")] = "refundry_reader",
) -> None:
    """Print the grants that give each role what it needs and no more; it changes nothing."""
    if not load_settings().database().startswith("postgresql"):
        fail("SQLite has no roles: who may read its file may do everything", EXIT_REFUSED)
    for statement in grants(worker, operator, gateway, reader):
        print_line(f"{statement};")


def list_accounts(
    account: Annotated[
        str | None, typer.Argument(help="Only this one, with who did what about it and why.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    as_json: Json = False,
) -> None:
    """List the ledger's accounts: what stops them, and what waits to be sent."""
    ledger = open_ledger()
    with ledger.read() as connection:
        rows = reports.account_rows(connection, ledger.now(connection))
        entries = entries_of_account(connection, account, limit) if account else []
    if account is None:
        print_records("Accounts (amounts in fen)", reports.AccountRow, rows, as_json)
        return
    found = next((row for row in rows if row.account == account), None)
    if found is None:
        fail(f"the ledger has no account {account!r}", EXIT_REFUSED)
    if as_json:
        print_json(dataclasses.asdict(found) | {"entries": entries})
        return
    facts = dataclasses.asdict(found).items()
    print_table(f"Account {account} (amounts in fen)", ("", ""), list(facts))
    print_rows("What was done about it", entries)


def pause(
    account: str, reason: Reason = "by an operator", by: By = None, as_json: Json = False
) -> None:
    """Stop sending for an account; asking goes on, nothing fails."""
    command.pause(open_ledger(), account, who_acts(by, reason))
    print_done(as_json, f"paused {account}", {"paused": account})


def resume(
    account: str, reason: Reason = "by an operator", by: By = None, as_json: Json = False
) -> None:
    """Send again for an account; an open breaker is closed."""
    command.resume(open_ledger(), account, who_acts(by, reason))
    print_done(as_json, f"resumed {account}", {"resumed": account})


def funded(
    account: str,
    reason: Reason = "the balance was filled up",
    by: By = None,
    as_json: Json = False,
) -> None:
    """Send now what the merchant's balance was short of, for it was filled up."""
    tried = command.try_funds(open_ledger(), account, who_acts(by, reason))
    line = f"{tried.refunds} refunds of {yuan(tried.amount)} yuan are tried now"
    print_done(as_json, line, {"account": account, **dataclasses.asdict(tried)})


def hold(order_no: str, account: AccountName, by: By = None, as_json: Json = False) -> None:
    """Keep an order's refunds from being sent; prints the token that releases it.

    Who holds it gets the same token again.
    """
    runtime, who = build_runtime(load_settings()), who_acts(by, "hold").name
    token = holds.hold_order(runtime, account, order_no, who)
    print_done(as_json, token, {"held": order_no, "token": token})


def release(
    order_no: str,
    account: AccountName,
    token: Annotated[str | None, typer.Option(help="The hold's; else say --reason.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, without the token.")] = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Let a held order's refunds go again, with its token, or as a person with a reason."""
    if [token, reason].count(None) != 1:
        fail("give either --token, or --reason for a release without it", EXIT_USAGE)
    runtime = build_runtime(load_settings())
    if token is not None:
        order_id = holds.release_order(runtime, account, order_no, token)
    else:
        who = who_acts(by, reason or "")
        order_id = holds.release_by_hand(runtime, account, order_no, who)
    wake_orders([order_id])
    print_done(as_json, f"released {order_no}", {"released": order_no})
