"""The ``refundry`` command; a file a group. Exit codes: see :mod:`worker.cli.output`."""

import logging
import sys

import typer

from config.logs import configure_logging
from worker.cli import operations, refunds
from worker.cli.archive import archive
from worker.cli.callbacks import callback_commands
from worker.cli.cases import case_commands
from worker.cli.demo import demo
from worker.cli.doctor import doctor
from worker.cli.figures import figures
from worker.cli.imports import import_commands
from worker.cli.output import EXIT_USAGE, fail
from worker.cli.personal import personal_commands
from worker.cli.problems import explained
from worker.cli.query_first import query_first_commands
from worker.cli.reconcile import reconcile
from worker.cli.statements import statement_commands
from worker.cli.tokens import token_commands
from worker.cli.up import up

app = typer.Typer(
    name="refundry",
    help="An asynchronous refund processor.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(up)
app.command("doctor")(doctor)
app.command("demo")(demo)
app.command("request")(refunds.request)
app.command("status")(refunds.status)
app.command("list")(refunds.list_refunds)
app.command("refused")(refunds.list_refused)
app.command("export")(refunds.export)
app.command("resubmit")(refunds.resubmit)
app.command("cancel")(refunds.cancel)
app.command("accounts")(operations.list_accounts)
app.command("audit")(operations.audit)
app.command("archive")(archive)
app.command("figures")(figures)
app.command("reconcile")(reconcile)
app.command("pause")(operations.pause)
app.command("resume")(operations.resume)
app.command("funded")(operations.funded)
app.command("hold")(operations.hold)
app.command("release")(operations.release)
app.add_typer(callback_commands, name="callbacks")
app.add_typer(case_commands, name="case")
app.add_typer(operations.db_commands, name="db")
app.add_typer(import_commands, name="import")
app.add_typer(personal_commands, name="personal")
app.add_typer(query_first_commands, name="query-first")
app.add_typer(statement_commands, name="statement")
app.add_typer(token_commands, name="token")


def main() -> None:
    """Entry point of the console script."""
    for argument in sys.argv:
        if any("\ud800" <= sign <= "\udfff" for sign in argument):
            fail(f"the argument {argument!r} is not UTF-8", EXIT_USAGE)
    configure_logging(logging.WARNING)
    with explained():
        app()
