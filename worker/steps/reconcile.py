"""Reconcile: holds a time's final refunds beside what the provider says of them, in a recorded run.

It has no repair of its own: it makes refunds due, which the poll asks about, and opens a case for
every difference. A run is advanced bit by bit; it may stop anywhere, and several may work on it.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Final

import structlog

from refundry.fields import SHANGHAI
from worker.errors import Refused
from worker.ledger import reconciliations as ledger_of
from worker.ledger.orders import find_order
from worker.ledger.reconciliations import BEAT, HAND, Run
from worker.ledger.statements import statements_to_do
from worker.runtime import Line, Runtime
from worker.steps.differ import Counts
from worker.steps.figures import asks_figures
from worker.steps.inspect_orders import audit_orders, compare_orders
from worker.steps.match import match_statement
from worker.steps.statements import day_window
from worker.steps.unlisted import look_for_unlisted

_log = structlog.get_logger(__name__)

#: Refunds that are due at a time.
BATCH: Final = 500
#: A step of a run takes less; then somebody else may take it up.
CLAIM: Final = timedelta(seconds=300)
#: So long a provider that answers nothing is waited for, before the run goes on without it.
PATIENCE: Final = timedelta(hours=1)
#: Days that beat makes up for where nothing ran.
CATCH_UP: Final = 7
#: Chunks of a bill that one step compares.
CHUNKS: Final = 20
#: Refunds whose orders one step looks at; and where the provider is asked about each.
ORDERS: Final = 500
ASKED_ORDERS: Final = 5
#: A message works on runs for at most about this long.
WORK_S: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What a part of a run has done."""

    counts: Mapping[str, int] = field(default_factory=dict)
    #: The phase is over.
    over: bool = False
    #: There is nothing to do now, but later; and whether it goes on all the same.
    waits: bool = False
    goes_on: bool = False
    #: The place that was reached.
    reached: tuple[datetime, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Advanced:
    """How a run stands."""

    run: Run
    waits: bool

    @property
    def ended(self) -> bool:
        return self.run.ended_at is not None


def begin_due(runtime: Runtime) -> list[int]:
    """Begin a run of every account and day that is over; beat's runs that have not ended.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        now = runtime.ledger.now(connection)
        for name, line in runtime.lines.items():
            if not line.account.reconcile:
                continue
            last = ledger_of.last_daily_run(connection, name)
            for day in _due_days(line, last, now):
                values = _new_run(name, day, day, BEAT, now)
                ledger_of.begin_daily_run(connection, values)
        return ledger_of.open_runs(connection, BEAT)


def _due_days(line: Line, last: datetime | None, now: datetime) -> list[date]:
    """The days that are over and have no run: the latest, and those since the last one."""
    after = timedelta(hours=line.account.reconcile_after_h)
    latest = (now - after).astimezone(SHANGHAI).date() - timedelta(days=1)
    if last is None:
        return [latest]
    first = last.astimezone(SHANGHAI).date() + timedelta(days=1)
    first = max(first, latest - timedelta(days=CATCH_UP - 1))
    return [first + timedelta(days=n) for n in range((latest - first).days + 1)]


def _new_run(account: str, first: date, last: date, by: str, now: datetime) -> dict[str, Any]:
    window = day_window(first, last)
    return {
        "account": account,
        "since": window.since,
        "until": window.until,
        "begun_by": by,
        "began_at": now,
        "phase": _PHASES[0],
        "phase_at": now,
        "reached": 0,
        "reached_at": window.since,
        "counts": {},
    }


def begin_by_hand(
    runtime: Runtime, account: str, day: date | None = None, order_no: str | None = None
) -> int:
    """Begin a run of a day, the one before today if none is named; or of an order, over all time.

    Raises:
        Refused: there is no such account or order.
        ServiceAway: the ledger does not answer.
    """
    line = runtime.line(account)
    with runtime.ledger.write() as connection:
        now = runtime.ledger.now(connection)
        day = day or now.astimezone(SHANGHAI).date() - timedelta(days=1)
        values = _new_run(account, day, day, HAND, now)
        if order_no is not None:
            order = find_order(connection, line.provider.merchant, order_no)
            if order is None:
                raise Refused("not_found", f"account {account!r} has no order {order_no!r}")
            since = order.created_at
            values |= {"order_id": order.id, "since": since, "reached_at": since}
            values["until"] = now + timedelta(days=1)
        return ledger_of.begin_run(connection, values)


def advance_on(runtime: Runtime, run_id: int) -> Iterator[Advanced]:
    """Step after step, while there is something to do; after a while the thread is left to others.

    Raises:
        ServiceAway: the ledger does not answer; the run goes on when its claim runs out.
    """
    ends_at = time.monotonic() + WORK_S
    while True:
        advanced = advance(runtime, run_id)
        yield advanced
        if advanced.ended or advanced.waits or time.monotonic() > ends_at:
            return


def advance(runtime: Runtime, run_id: int) -> Advanced:
    """Do the next bit of a run, unless somebody is at work on it.

    Raises:
        ServiceAway: the ledger does not answer; the run goes on when its claim runs out.
    """
    with runtime.ledger.write() as connection:
        now = runtime.ledger.now(connection)
        run = ledger_of.claim_run(connection, run_id, now, now + CLAIM)
        if run is None:
            return Advanced(run=ledger_of.get_run(connection, run_id), waits=True)
    line = runtime.lines.get(run.account)
    if line is None:
        _log.error("reconcile.account_not_configured", account=run.account)
        step = Step(over=True, counts={"not_configured": 1})
    else:
        step = _DOES[run.phase](runtime, line, run)
    return _write_down(runtime, run, step)


def _write_down(runtime: Runtime, run: Run, step: Step) -> Advanced:
    counts = dict(run.counts)
    for name, number in step.counts.items():
        counts[name] = counts.get(name, 0) + number
    values: dict[str, Any] = {"counts": counts}
    with runtime.ledger.write() as connection:
        now = runtime.ledger.now(connection)
        if step.reached is not None:
            values |= {"reached_at": step.reached[0], "reached": step.reached[1]}
        if step.goes_on:
            values["phase_at"] = now
        if step.over:
            values |= {"phase": _after(run.phase), "phase_at": now}
            values |= {"reached": 0, "reached_at": run.since}
            if values["phase"] == _PHASES[-1]:
                values["ended_at"] = now
        ledger_of.update_run(connection, run.id, values)
    return Advanced(run=replace(run, **values), waits=step.waits)


def _ask(runtime: Runtime, line: Line, run: Run) -> Step:
    """Have the poll ask about every refund of the time, and wait until it has."""
    with runtime.ledger.write() as connection:
        now = runtime.ledger.now(connection)
        wait = line.account.scaled(line.provider.traits.query_not_before_s)
        not_after = now - timedelta(seconds=wait)
        if line.account.query:
            asking = ledger_of.ask_again(connection, run, now, not_after, BATCH)
            goes_on = bool(asking.made_due)
            if asking.reached and (goes_on or not _is_impatient(line, run, now)):
                return Step(waits=True, goes_on=goes_on, reached=asking.reached)
        settled, unasked = ledger_of.count_settled(connection, run)
    return Step(counts={"refunds": settled, "asked": settled - unasked}, over=True)


def _is_impatient(line: Line, run: Run, now: datetime) -> bool:
    return now - run.phase_at > line.account.scaled(1) * PATIENCE


def _match(runtime: Runtime, line: Line, run: Run) -> Step:
    """Compare the account's bills, as far as they are whole and complete."""
    counts, finished = compare_statements(runtime, line, CHUNKS, run.id)
    if not finished:
        return Step(counts=counts)
    with runtime.ledger.read() as connection:
        now = runtime.ledger.now(connection)
        waiting = ledger_of.has_waiting_lines(connection, line.account.name)
        stopped = sum(one.stopped for one in statements_to_do(connection, line.account.name))
    settles = timedelta(seconds=2 * line.account.total_timeout_s + WORK_S)
    waits = waiting and line.account.query and now - run.phase_at < settles
    if stopped and not waits:
        counts["stopped"] = stopped
    return Step(counts=counts, over=not waits, waits=waits)


def compare_statements(
    runtime: Runtime, line: Line, most: int, run_id: int | None = None
) -> tuple[Counts, bool]:
    """Compare up to ``most`` chunks of lines; once all are, look for what no bill has.

    How many lines got which result, and whether it is finished. ``run_id`` is the run that does it.

    Raises:
        ServiceAway: the ledger does not answer; what is committed stays.
    """
    with runtime.ledger.read() as connection:
        found = statements_to_do(connection, line.account.name)
    counts: Counts = Counter()
    for statement in found:
        most -= match_statement(runtime, line, statement, counts, most, run_id)
        if most <= 0:
            return counts, False
    for statement in found:
        look_for_unlisted(runtime, line, statement, counts, run_id)
    return counts, True


def _compare_figures(runtime: Runtime, line: Line, run: Run) -> Step:
    asked = asks_figures(line)
    return _over_orders(runtime, line, run, compare_orders, ASKED_ORDERS if asked else ORDERS)


def _audit(runtime: Runtime, line: Line, run: Run) -> Step:
    return _over_orders(runtime, line, run, audit_orders, ORDERS)


Look = Callable[[Runtime, Line, Run, dict[int, str]], dict[str, int] | None]


def _over_orders(runtime: Runtime, line: Line, run: Run, look: Look, limit: int) -> Step:
    """Look at the next orders of the time."""
    with runtime.ledger.read() as connection:
        now = runtime.ledger.now(connection)
        found = ledger_of.next_settled(connection, run, limit)
    if not found:
        return Step(over=True)
    counts = look(runtime, line, run, {one.order_id: one.order_no for one in found})
    if counts is None and not _is_impatient(line, run, now):
        return Step(waits=True)
    counts = {"unlooked": len(found)} if counts is None else counts
    return Step(counts=counts, reached=(found[-1].state_at, found[-1].id))


_PHASES: Final = ("asking", "figures", "statements", "audit", "ended")
_DOES: Final[dict[str, Callable[[Runtime, Line, Run], Step]]] = {
    "asking": _ask,
    "figures": _compare_figures,
    "statements": _match,
    "audit": _audit,
}


def _after(phase: str) -> str:
    return _PHASES[_PHASES.index(phase) + 1]
