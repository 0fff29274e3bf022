"""``refundry accounts|audit|case|db|pause|resume|hold|release``: for operators and finance."""

import dataclasses
from typing import Annotated

import typer

from config.settings import load_settings
from worker.audit import Finding, audit_order
from worker.cli.output import EXIT_REFUSED, fail, print_done, print_json, print_line, print_table
from worker.cli.refunds import AccountName, Json
from worker.cli.setting import open_ledger
from worker.ledger import migrate, reports
from worker.ledger.whole import stopped_accounts, whole_orders
from worker.runtime import build_runtime
from worker.steps import command

case_commands = typer.Typer(help="Cases: what a person has to look at.", no_args_is_help=True)
db_commands = typer.Typer(help="The ledger's schema.", no_args_is_help=True)


def audit(as_json: Json = False) -> None:
    """Hold the ledger against I1-I10: a line a breach, exit code 1; a backlog is a warning."""
    ledger = open_ledger()
    found: list[Finding] = []
    orders = 0
    with ledger.read() as connection:
        now = ledger.now(connection)
        stopped = stopped_accounts(connection, now)
        for whole in whole_orders(connection):
            orders += 1
            found += audit_order(whole, stopped, now)
    breaches = [one for one in found if not one.warning]
    if as_json:
        shown = [dataclasses.asdict(one) for one in found]
        print_json({"orders": orders, "breaches": len(breaches), "findings": shown})
    else:
        for one in found:
            word = "warning" if one.warning else "breach"
            print_line(f"{word} {one.promise} {one.row}: {one.said}")
        print_line(f"{orders} orders, {len(breaches)} breaches")
    if breaches:
        raise SystemExit(EXIT_REFUSED)


@case_commands.command("list")
def list_cases(
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 1000, as_json: Json = False
) -> None:
    """List the open cases, the oldest first."""
    with open_ledger().read() as connection:
        rows = [dataclasses.asdict(row) for row in reports.open_cases(connection, limit)]
    if as_json:
        print_json(rows)
        return
    columns = [field.name for field in dataclasses.fields(reports.CaseRow)]
    print_table("Open cases (amounts in fen)", columns, [list(row.values()) for row in rows])


@case_commands.command("show")
def show_case(case_id: int, as_json: Json = False) -> None:
    """Show one case with its evidence."""
    with open_ledger().read() as connection:
        row = reports.get_case(connection, case_id)
    if row is None:
        fail(f"there is no case {case_id}", EXIT_REFUSED)
    shown = dataclasses.asdict(row)
    if as_json:
        print_json(shown)
    else:
        print_table(f"Case {case_id}", ("", ""), shown.items())


@db_commands.command("upgrade")
def upgrade(as_json: Json = False) -> None:
    """Create the schema or bring it up to date."""
    migrate.upgrade(load_settings().database())
    print_done(as_json, "the schema is up to date", {"upgraded": True})


def list_accounts(as_json: Json = False) -> None:
    """List the ledger's accounts: what stops them, and what waits to be sent."""
    ledger = open_ledger()
    with ledger.read() as connection:
        rows = reports.account_rows(connection, ledger.now(connection))
    shown = [dataclasses.asdict(row) for row in rows]
    if as_json:
        print_json(shown)
        return
    columns = [field.name for field in dataclasses.fields(reports.AccountRow)]
    print_table("Accounts (amounts in fen)", columns, [list(row.values()) for row in shown])


def pause(
    account: str,
    reason: Annotated[str, typer.Option(help="Why, for people.")] = "by an operator",
    as_json: Json = False,
) -> None:
    """Stop sending for an account; asking goes on, nothing fails."""
    command.pause(open_ledger(), account, reason)
    print_done(as_json, f"paused {account}", {"paused": account})


def resume(account: str, as_json: Json = False) -> None:
    """Send again for an account; an open breaker is closed."""
    command.resume(open_ledger(), account)
    print_done(as_json, f"resumed {account}", {"resumed": account})


def hold(order_no: str, account: AccountName, as_json: Json = False) -> None:
    """Keep an order's refunds from being sent; prints the token that releases it."""
    token = command.hold_order(build_runtime(load_settings()), account, order_no)
    print_done(as_json, token, {"held": order_no, "token": token})


def release(
    order_no: str,
    account: AccountName,
    token: Annotated[str, typer.Option(help="The hold's.")],
    as_json: Json = False,
) -> None:
    """Let a held order's refunds go again."""
    command.release_order(build_runtime(load_settings()), account, order_no, token)
    print_done(as_json, f"released {order_no}", {"released": order_no})
