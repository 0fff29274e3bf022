"""``refundry personal key|show|seal|purge``: what producers say of persons, and its keys."""

from datetime import timedelta
from typing import Annotated

import typer

from config.settings import load_settings
from worker.cli.output import print_done, print_json, print_line, print_table
from worker.cli.refunds import Json
from worker.ledger.personal_data import count_kept
from worker.runtime import build_runtime
from worker.seal_keys import new_key
from worker.seals import Seals
from worker.steps import keeping

personal_commands = typer.Typer(help="Personal data under seal.", no_args_is_help=True)


@personal_commands.command("key")
def key() -> None:
    """Print a new key for REFUNDRY_PERSONAL_KEYS; it is kept nowhere."""
    print_line(new_key())


@personal_commands.command("show")
def show(as_json: Json = False) -> None:
    """Show how many refunds' data each key has sealed, is in clear, or was purged."""
    runtime = build_runtime(load_settings())
    with runtime.ledger.read() as connection:
        counted = count_kept(connection)
    rows: list[dict[str, object]] = [
        {"key": key_id, "refunds": count, "use": _use(runtime.seals, key_id)}
        for key_id, count in sorted(counted.items(), key=lambda one: str(one[0]))
    ]
    clear = sum(len(ids) for _, ids in keeping.in_clear(runtime))
    if clear:
        rows.append({"key": None, "refunds": clear, "use": "in clear: `refundry personal seal`"})
    if as_json:
        print_json(rows)
    else:
        print_table(
            "Personal data", ("key", "refunds", "use"), [list(row.values()) for row in rows]
        )


def _use(known: Seals, key_id: str | None) -> str:
    if key_id is None:
        return "purged"
    if key_id == known.newest:
        return "newest"
    return "former" if key_id in known.former else "missing"


@personal_commands.command("seal")
def seal(as_json: Json = False) -> None:
    """Encrypt what stands in clear from an older version, and what a former key has sealed."""
    runtime = build_runtime(load_settings())
    sealed, anew = keeping.seal_clear(runtime), 0
    while done := keeping.seal_anew(runtime):
        anew += done
    said = f"sealed {sealed} that stood in clear, {anew} with the newest key"
    print_done(as_json, said, {"sealed": sealed, "sealed_anew": anew})


@personal_commands.command("purge")
def purge(
    days: Annotated[
        float | None,
        typer.Option(min=0, help="Final for so many days; else REFUNDRY_PERSONAL_DAYS."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Forget the personal data of refunds that are final; it cannot be read any more."""
    runtime, purged = build_runtime(load_settings()), 0
    kept_for = runtime.personal_for if days is None else timedelta(days=days)
    while done := keeping.purge(runtime, kept_for):
        purged += done
    print_done(as_json, f"purged the data of {purged} refunds", {"purged": purged})
