"""Refunds on Procrastinate: a job per refund under its order's lock, then a job that asks."""

from typing import Any

from procrastinate import App, PsycopgConnector

from bench.contenders.calls import (
    ask_refund,
    database_url,
    note_refund,
    note_state,
    submit_refund,
)

app = App(connector=PsycopgConnector(conninfo=database_url(), min_size=4, max_size=20))


@app.task(name="submit")
def submit(job: dict[str, Any]) -> None:
    """Send a refund; the job's lock keeps others of the order away."""
    note_refund(job)
    note_state(job["refund_no"], submit_refund(job))
    poll.defer(order_no=job["order_no"], refund_no=job["refund_no"])


@app.task(name="poll")
def poll(order_no: str, refund_no: str) -> None:
    """Ask; the fast provider is final at once."""
    note_state(refund_no, ask_refund(order_no, refund_no))
