"""``refundry reconcile``: a run of reconciliation by hand."""

import threading
from datetime import date
from typing import Annotated, Final

import typer

from config.settings import load_settings
from worker.cli.output import EXIT_REFUSED, EXIT_USAGE, fail, print_json, print_line
from worker.cli.refunds import Json
from worker.runtime import Runtime, build_runtime
from worker.steps.poll import poll
from worker.steps.reconcile import Advanced, advance, begin_by_hand

#: Between two looks at a run that waits for answers.
WAIT_S: Final = 0.5


def reconcile(
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    day: Annotated[
        str | None, typer.Option(help="Which day, such as 2026-01-31; the one before today.")
    ] = None,
    order: Annotated[str | None, typer.Option(help="Only this order, over all time.")] = None,
    as_json: Json = False,
) -> None:
    """Reconcile a day with its provider and bills; exit code 1: it opened a case, a bill waits."""
    if order is not None and (account is None or day is not None):
        fail("--order needs --account, and no --day", EXIT_USAGE)
    runtime = build_runtime(load_settings())
    names = sorted(runtime.lines) if account is None else [account]
    runs = [(name, begin_by_hand(runtime, name, _day(day), order)) for name in names]
    opened = 0
    for name, run_id in runs:
        run = _advance(runtime, name, run_id, as_json).run
        opened += run.counts.get("cases", 0) + run.counts.get("stopped", 0)
        if as_json:
            print_json({"run": run.id, "account": name, "since": run.since, "counts": run.counts})
    if opened:
        raise SystemExit(EXIT_REFUSED)


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is no day: write 2026-01-31", EXIT_USAGE)


def _advance(runtime: Runtime, account: str, run_id: int, as_json: bool) -> Advanced:
    """Advance a run to its end; what it makes due is asked about here too, workers or not."""
    phase = ""
    while True:
        advanced = advance(runtime, run_id)
        if advanced.run.phase != phase and not as_json:
            phase = advanced.run.phase
            counts = advanced.run.counts.items()
            said = ", ".join(f"{number} {name}" for name, number in counts)
            print_line(f"{account} run {run_id} {phase}: {said}")
        if advanced.ended:
            return advanced
        if advanced.waits and not poll(runtime, [account]).asked:
            threading.Event().wait(WAIT_S)
