"""``refundry query-first``: after a restore, ask before anything is sent."""

import dataclasses
from typing import Annotated

import typer

from config.settings import load_settings
from worker.cli.output import EXIT_USAGE, fail, print_done
from worker.cli.refunds import Json
from worker.runtime import build_runtime
from worker.steps import query_first as step

query_first_commands = typer.Typer(
    help="After a restore of the ledger: ask before anything is sent.", no_args_is_help=True
)
Reason = Annotated[str, typer.Option(help="Why, for people.")]


@query_first_commands.command("begin")
def begin(
    reason: Reason,
    account: Annotated[
        list[str] | None, typer.Option(help="Only this one, and those it shares orders with.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send no refund before its provider was asked about it; all accounts, if none is named."""
    begun = step.begin(build_runtime(load_settings()), account or [], reason)
    lines = (f"{one.account} asks first: {one.to_ask} refunds to ask about" for one in begun)
    print_done(as_json, "\n".join(lines), {"begun": [dataclasses.asdict(one) for one in begun]})


@query_first_commands.command("end")
def end(
    account: str,
    even_so: Annotated[
        bool, typer.Option(help="You have compared the provider's book: clear what is left.")
    ] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Send again without asking first, once everything of the account is cleared."""
    if even_so and not reason.strip():
        fail("--even-so needs --reason: who compared what with the provider's book", EXIT_USAGE)
    step.end(build_runtime(load_settings()), account, even_so=reason if even_so else None)
    print_done(as_json, f"{account} asks first no more", {"ended": account})
