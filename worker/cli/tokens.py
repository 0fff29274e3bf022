"""``refundry token create|list|revoke``: who may use the gateway."""

import dataclasses
from typing import Annotated

import typer

from config.accounts import load_accounts
from config.settings import load_settings
from worker.cli.output import print_done, print_json, print_table
from worker.cli.refunds import Json
from worker.cli.setting import open_ledger
from worker.ledger.api_tokens import token_rows
from worker.steps import api_tokens

token_commands = typer.Typer(help="Tokens of the gateway.", no_args_is_help=True)


@token_commands.command("create")
def create(
    name: str,
    account: Annotated[list[str], typer.Option(help="Account it is for; '*' is every account.")],
    as_json: Json = False,
) -> None:
    """Make a token and print it; it is not kept and cannot be printed again."""
    known = load_accounts(load_settings().accounts_file())
    token = api_tokens.create_token(open_ledger(), name, account, known)
    print_done(as_json, token, {"name": name, "accounts": account, "token": token})


@token_commands.command("list")
def list_tokens(as_json: Json = False) -> None:
    """List the tokens, by name; what they are is not known any more."""
    with open_ledger().read() as connection:
        rows = [dataclasses.asdict(row) for row in token_rows(connection)]
    shown = [{key: value for key, value in row.items() if key != "digest"} for row in rows]
    if as_json:
        print_json(shown)
        return
    columns = ("name", "accounts", "created_at", "revoked_at")
    print_table("Tokens", columns, [[row[name] for name in columns] for row in shown])


@token_commands.command("revoke")
def revoke(name: str, as_json: Json = False) -> None:
    """End a token at once."""
    api_tokens.revoke(open_ledger(), name)
    print_done(as_json, f"revoked {name}", {"revoked": name})
