"""``refundry archive``: what is old leaves the hot tables, and can be read and audited as ever."""

from datetime import timedelta
from typing import Annotated

import typer

from config.settings import load_settings
from worker.cli.output import EXIT_USAGE, fail, print_done
from worker.cli.refunds import Json
from worker.ledger.archive import count_archived
from worker.runtime import build_runtime
from worker.steps.archive import archive_on


def archive(
    days: Annotated[
        float | None,
        typer.Option(min=0, help="Final for so many days; else REFUNDRY_KEEP_DAYS."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Archive events and attempts of old refunds; stop it whenever you like, and run it again."""
    runtime = build_runtime(load_settings())
    older_than = runtime.hot_for if days is None else timedelta(days=days)
    if older_than is None:
        fail("say --days, or set REFUNDRY_KEEP_DAYS", EXIT_USAGE)
    archived = sum(archive_on(runtime, older_than))
    with runtime.ledger.read() as connection:
        total = count_archived(connection)
    said = f"archived {archived} refunds; the archive has {total}"
    print_done(as_json, said, {"archived": archived, "in_archive": total})
