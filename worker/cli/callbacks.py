"""``refundry callbacks``: providers' notifications, stored and refused."""

from typing import Annotated

import typer

from config.visible import visible_lines
from worker.cli.output import EXIT_REFUSED, fail, print_done, print_json, print_rows
from worker.cli.refunds import Json
from worker.cli.setting import open_ledger
from worker.ledger import callbacks

callback_commands = typer.Typer(
    help="Providers' notifications: list them, show one, count those refused.",
    invoke_without_command=True,
)


@callback_commands.callback()
def list_callbacks(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="Only those to this account.")] = None,
    refund_no: Annotated[str | None, typer.Option(help="Only those about this number.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    as_json: Json = False,
) -> None:
    """List the notifications that were stored, the latest first; without their bytes."""
    if context.invoked_subcommand is not None:
        return
    with open_ledger().read() as connection:
        rows = callbacks.callback_rows(connection, account, refund_no, limit)
    if as_json:
        print_json(rows)
    else:
        print_rows("Notifications", rows)


@callback_commands.command("show")
def show_callback(callback_id: int, as_json: Json = False) -> None:
    """Print the bytes of one notification as text; what is not UTF-8 or not visible is escaped."""
    with open_ledger().read() as connection:
        body = callbacks.callback_body(connection, callback_id)
    if body is None:
        fail(f"there is no notification {callback_id}", EXIT_REFUSED)
    text = body.decode("utf-8", errors="backslashreplace")
    print_done(as_json, visible_lines(text), {"id": callback_id, "body": text})


@callback_commands.command("refused")
def list_refused_callbacks(as_json: Json = False) -> None:
    """Count the notifications that were not taken, by account and cause."""
    with open_ledger().read() as connection:
        rows = callbacks.refused_callback_rows(connection)
    if as_json:
        print_json(rows)
    else:
        print_rows("Refused notifications", rows)
