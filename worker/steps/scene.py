"""What a decision is written into, and when what it leaves is due."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.errors import LostCommits
from worker.ledger.engine import Ledger
from worker.ledger.funds import waits_for_funds
from worker.ledger.refunds import get_attempt
from worker.ledger.rows import AttemptRow, Order, Refund
from worker.ledger.scenes import Locked, lock_rows
from worker.refund import (
    FAILED,
    FINAL,
    PENDING,
    QUEUED,
    SUCCEEDED,
    UNKNOWN,
    WAITING_FOR_FUNDS,
    Change,
)
from worker.runtime import Line
from worker.schedule import (
    after_funds,
    earliest_question,
    next_question,
    next_send,
    next_watch_of_failure,
    next_watch_of_success,
    person_due,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What a decision is written into: locked order and refund, their account, the time."""

    connection: Connection
    order: Order
    refund: Refund
    line: Line
    now: datetime
    #: The refund's latest attempt, as it was when all was locked.
    attempt: AttemptRow | None = None
    #: Another refund of the order is queued.
    others_wait: bool = False


def lock_scene(connection: Connection, ledger: Ledger, line: Line, refund_id: int) -> Scene:
    """Lock an order and a refund of it, in this order, and read the ledger's time.

    Raises:
        LostCommits: there is no such refund.
    """
    for found in lock_rows(connection, ledger.time, [refund_id]):
        return scene_of(connection, line, found)
    raise LostCommits(f"the ledger has no refund {refund_id}")


def scene_of(connection: Connection, line: Line, found: Locked) -> Scene:
    """What was locked, for an account's decision."""
    return Scene(
        connection=connection,
        line=line,
        order=found.order,
        refund=found.refund,
        attempt=found.attempt,
        others_wait=found.others_wait,
        now=found.now,
    )


def attempt_of(scene: Scene, number: int) -> AttemptRow:
    """An attempt of the scene's refund; it must be there."""
    latest = scene.attempt
    if latest is not None and latest.number == number:
        return latest
    return get_attempt(scene.connection, scene.refund.id, number)


def due_at(scene: Scene, change: Change) -> datetime | None:
    """When the refund is sent, asked about, or looked at again."""
    after, refund, account = change.standing, scene.refund, scene.line.account
    if asks_first(scene, change):
        return _next_question(scene, change)
    if after.state is QUEUED:
        waits = refund.state is QUEUED and not change.clears
        return refund.due_at if waits else _send_at(scene, change)
    if change.asks:
        return _not_too_early(scene, after.attempt, scene.now)
    if after.state in (UNKNOWN, PENDING):
        if not account.query:
            return _look_at(scene, change)
        return _next_question(scene, change)
    if not account.query:
        return None
    final_at = scene.now if after.state is not refund.state else refund.state_at
    if after.state is FAILED:
        return next_watch_of_failure(final_at, scene.now)
    if after.state is SUCCEEDED:
        return next_watch_of_success(final_at, scene.line.watch_days, scene.now)
    return None


def asks_first(scene: Scene, change: Change) -> bool:
    """What it calls queued, or failed, may have been sent since: that is asked, again and again."""
    line, state = scene.line, change.standing.state
    may_have_been_sent = state is QUEUED or (state is FAILED and line.provider.traits.resubmits)
    waits = scene.refund.uncleared and not change.clears
    return may_have_been_sent and waits and line.account.query


def _next_question(scene: Scene, change: Change) -> datetime:
    refund, account = scene.refund, scene.line.account
    age = scene.now - refund.accepted_at
    due = next_question(account, refund.asked, age, scene.now)
    return _not_too_early(scene, change.standing.attempt, due)


def _look_at(scene: Scene, change: Change) -> datetime | None:
    """When to look at what cannot be asked about.

    After the grace, for a decline that came too early to be believed; then when a person is due.
    """
    if not scene.line.hears:
        return None
    ends_at = grace_end(scene)
    return ends_at if ends_at > scene.now else case_at(scene, change)


def grace_end(scene: Scene) -> datetime:
    """From when nothing of the refund's attempts, lost ones too, can still be on its way."""
    number, since = scene.refund.standing.attempt, scene.refund.query_first_since
    grace = timedelta(seconds=scene.line.account.grace_s)
    ends_at = scene.now if since is None else max(scene.now, since + grace)
    if not number:
        return ends_at
    began_at = attempt_of(scene, number).started_at
    return began_at + grace if since is None else max(began_at, since) + grace


def earliest_ask(scene: Scene) -> datetime:
    """From when its provider may be asked about a refund."""
    return _not_too_early(scene, scene.refund.standing.attempt, scene.now)


def _not_too_early(scene: Scene, attempt: int, due: datetime) -> datetime:
    wait_s = scene.line.provider.traits.query_not_before_s
    if not wait_s or not attempt:
        return due
    began_at = attempt_of(scene, attempt).started_at
    return max(due, earliest_question(scene.line.account, wait_s, began_at))


def _send_at(scene: Scene, change: Change) -> datetime:
    account, now = scene.line.account, scene.now
    if change.event in ("never_sent", "busy", "misconfigured", "token"):
        unsent = change.standing.attempt - change.standing.sent
        return next_send(account, unsent - 1, now)
    if change.event == WAITING_FOR_FUNDS:
        waits = waits_for_funds(scene.connection, scene.refund.id, account.name)
        return after_funds(account, waits, now)
    return now


def case_at(scene: Scene, change: Change) -> datetime | None:
    """When a person should look: counted from acceptance, anew once accepted or asked again."""
    state, account = change.standing.state, scene.line.account
    if state in FINAL:
        return None
    if state is PENDING and scene.refund.state is not PENDING:
        return person_due(account, pending=True, now=scene.now)
    if change.event == "resubmitted" or (scene.refund.state is PENDING and state is not PENDING):
        return person_due(account, pending=False, now=scene.now)
    return scene.refund.case_at
