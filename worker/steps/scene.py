"""What a decision is written into, and when what it leaves is due."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.ledger.engine import Ledger
from worker.ledger.orders import lock_order
from worker.ledger.refunds import get_attempt, lock_refund
from worker.ledger.rows import Order, Refund
from worker.refund import FAILED, FINAL, PENDING, QUEUED, SUCCEEDED, UNKNOWN, Change
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


def lock_scene(
    connection: Connection, ledger: Ledger, line: Line, order_id: int, refund_id: int
) -> Scene:
    """Lock an order and a refund of it, in this order, and read the ledger's time."""
    order = lock_order(connection, order_id)
    refund = lock_refund(connection, refund_id)
    now = ledger.now(connection)
    return Scene(connection=connection, order=order, refund=refund, line=line, now=now)


def due_at(scene: Scene, change: Change) -> datetime | None:
    """When the refund is sent, asked about, or looked at again."""
    after, refund, account = change.standing, scene.refund, scene.line.account
    if after.state is QUEUED:
        return refund.due_at if refund.state is QUEUED else _send_at(scene, change)
    if change.asks:
        return _not_too_early(scene, after.attempt, scene.now)
    if after.state in (UNKNOWN, PENDING):
        if not account.query:
            return _look_at(scene, change)
        age = scene.now - refund.accepted_at
        due = next_question(account, refund.asked, age, scene.now)
        return _not_too_early(scene, after.attempt, due)
    if not account.query:
        return None
    final_at = scene.now if after.state is not refund.state else refund.state_at
    if after.state is FAILED:
        return next_watch_of_failure(final_at, scene.now)
    if after.state is SUCCEEDED:
        return next_watch_of_success(final_at, scene.line.watch_days, scene.now)
    return None


def _look_at(scene: Scene, change: Change) -> datetime | None:
    """When to look at what cannot be asked about.

    After the grace, for a decline that came too early to be believed; then when a person is due.
    """
    if not scene.line.hears:
        return None
    ends_at = grace_end(scene)
    return ends_at if ends_at > scene.now else case_at(scene, change)


def grace_end(scene: Scene) -> datetime:
    """From when nothing of the refund's attempts can still be on its way."""
    number = scene.refund.standing.attempt
    if not number:
        return scene.now
    began_at = get_attempt(scene.connection, scene.refund.id, number).started_at
    return began_at + timedelta(seconds=scene.line.account.grace_s)


def _not_too_early(scene: Scene, attempt: int, due: datetime) -> datetime:
    wait_s = scene.line.provider.traits.query_not_before_s
    if not wait_s or not attempt:
        return due
    began_at = get_attempt(scene.connection, scene.refund.id, attempt).started_at
    return max(due, earliest_question(scene.line.account, wait_s, began_at))


def _send_at(scene: Scene, change: Change) -> datetime:
    account, now = scene.line.account, scene.now
    if change.event in ("never_sent", "busy", "misconfigured", "token"):
        unsent = change.standing.attempt - change.standing.sent
        return next_send(account, unsent - 1, now)
    if change.event == "waiting_for_funds":
        return after_funds(account, now)
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
