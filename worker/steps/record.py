"""Writes a decision down: refund, event, order, case and announcement, in one transaction."""

from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from refundry import Event
from worker.decisions import BY_PEOPLE, SETTLED
from worker.ledger import journal
from worker.ledger.accounts import Word, pause_account
from worker.ledger.orders import keep_figures, update_order
from worker.ledger.refunds import close_attempts, finish_attempt, update_refund
from worker.refund import (
    FINAL,
    PENDING,
    QUEUED,
    REVERSED,
    SUBMITTING,
    UNKNOWN,
    Case,
    Change,
    Outcome,
)
from worker.steps.announce import announcement
from worker.steps.scene import Scene, case_at, due_at
from worker.steps.sums import Contested, contest, moved

_log = structlog.get_logger(__name__)

#: Why a refund ended so that two persons have settled.
BY_HAND: Final = "settled by hand"
#: How long a wake may be on its way before the sweep sends another.
WAKE_BACKUP: Final = timedelta(seconds=5)


def record(
    scene: Scene,
    change: Change,
    outcome: Outcome | None = None,
    *,
    answered: int | None = None,
    asked_at: datetime | None = None,
    source: dict[str, Any] | None = None,
) -> bool:
    """Write a change down; returns whether the order has work to do now.

    Args:
        scene: the order and the refund, both locked in this transaction.
        change: what was decided.
        outcome: what the provider said, where it was asked or sent to.
        answered: number of the attempt that was answered, where there is one.
        asked_at: when the call began that brought the outcome; None for what came by itself.
        source: where it was learnt, for the event and the case.
    """
    source = source or {}
    new_case = change.case is not None and _open_case(scene, change.case, outcome, source)
    next_at = due_at(scene, change)
    _pause_account(scene, change, outcome)
    _keep_figures(scene, outcome, asked_at)
    same = change.standing == scene.refund.standing and not change.clears
    if same and answered is None and not new_case and change.event not in BY_PEOPLE:
        values = {"due_at": next_at} | _heard(outcome)
        update_refund(scene.connection, scene.refund.id, values)
        return False
    _write_attempts(scene, change, outcome, answered)
    contested = contest(scene, change)
    _write_refund(scene, change, outcome, contested, next_at)
    asked = exchanged(outcome) if outcome and outcome.exchange and answered is None else {}
    _append_event(scene, change, outcome, source | ({"exchange": asked} if asked else {}))
    _announce(scene, change, outcome)
    _open_case_if_unaskable(scene, change, outcome)
    return _write_order(scene, change, contested, next_at)


def _open_case(scene: Scene, kind: Case, outcome: Outcome | None, source: dict[str, Any]) -> bool:
    evidence = _said(outcome) | source | {"state": scene.refund.state}
    return journal.open_case(scene.connection, scene.refund.id, kind, evidence, scene.now)


def _open_case_if_unaskable(scene: Scene, change: Change, outcome: Outcome | None) -> None:
    """Where there is neither query nor callback, only a person can settle it."""
    waits = change.standing.state in (UNKNOWN, PENDING)
    if waits and not scene.line.account.query and not scene.line.hears:
        _open_case(scene, Case.UNASKABLE, outcome, {})


def _keep_figures(scene: Scene, outcome: Outcome | None, asked_at: datetime | None) -> None:
    """What the provider says of the whole order: both figures are always of one answer.

    What was refunded only grows: a notification, or an answer that others have come before since
    it was asked for, has been overtaken if it says less.
    """
    figures = outcome and outcome.figures
    if not figures:
        return
    kept_at = scene.order.figures_at
    alone = asked_at is not None and (kept_at is None or kept_at <= asked_at)
    if alone or (figures.refunded or 0) >= (scene.order.provider_refunded or 0):
        keep_figures(scene.connection, scene.order.id, figures, scene.now)


def _pause_account(scene: Scene, change: Change, outcome: Outcome | None) -> None:
    """The reason is the provider's code; an account that is paused already keeps its own."""
    if not change.pauses:
        return
    name, reason = scene.refund.account, outcome.code if outcome else change.event
    detail = {"rule": change.event, "refund_no": scene.refund.refund_no}
    if pause_account(scene.connection, name, Word(reason=reason, detail=detail), scene.now):
        _log.error("account.paused", account=name, reason=reason)


def _heard(outcome: Outcome | None) -> dict[str, Any]:
    """The columns that keep what the provider said last."""
    if outcome is None:
        return {}
    heard: dict[str, Any] = {"last_answer": _reason(outcome) or outcome.verdict.value}
    if outcome.provider_refund_no:
        heard["provider_refund_no"] = outcome.provider_refund_no
    return heard


def _said(outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return {}
    said = {
        "verdict": outcome.verdict.value,
        "code": outcome.code,
        "message": outcome.message,
        "provider_refund_no": outcome.provider_refund_no,
    }
    return {name: value for name, value in said.items() if value}


def _write_attempts(
    scene: Scene, change: Change, outcome: Outcome | None, answered: int | None
) -> None:
    if change.closes_all:
        close_attempts(scene.connection, scene.refund.id, scene.now)
    if answered is not None and change.attempt is not None:
        values: dict[str, Any] = {"status": change.attempt, "finished_at": scene.now}
        if outcome is not None:
            values |= {"code": outcome.code[:64], "message": outcome.message}
            values |= exchanged(outcome)
        finish_attempt(scene.connection, scene.refund.id, answered, values)


def exchanged(outcome: Outcome) -> dict[str, Any]:
    """The columns of an attempt that keep what was sent and what came back."""
    exchange = outcome.exchange
    return {"request": exchange and exchange.request, "answer": exchange and exchange.answer}


def _write_refund(
    scene: Scene,
    change: Change,
    outcome: Outcome | None,
    contested: Contested,
    next_at: datetime | None,
) -> None:
    refund, after = scene.refund, change.standing
    values: dict[str, Any] = {
        "state": after.state,
        "holds_order": after.holds,
        "releases": after.releases,
        "attempt": after.attempt,
        "sent": after.sent,
        "open_sent": after.open_sent,
        "known": after.known,
        "not_found": after.not_found,
        "not_found_since": after.not_found_since,
        "event_seq": refund.event_seq + 1,
        "contested_reserved": contested.reserved,
        "contested_marketing": contested.marketing,
        "contested_excess": contested.excess,
        "due_at": next_at,
        "case_at": case_at(scene, change),
    } | _heard(outcome)
    if after.state is not refund.state:
        values |= {"state_at": scene.now, "reason": _why(change, outcome)}
    if after.attempt != refund.standing.attempt:
        values["asked"] = 0
    if change.clears:
        values["cleared_at"] = scene.now
    update_refund(scene.connection, refund.id, values)


def _why(change: Change, outcome: Outcome | None) -> str:
    """What is told of why; of people's word only that it is one."""
    return BY_HAND if change.event == SETTLED else _reason(outcome)


def _reason(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    return " ".join(part for part in (outcome.code, outcome.message) if part)


def _append_event(
    scene: Scene, change: Change, outcome: Outcome | None, source: dict[str, Any]
) -> None:
    after = change.standing
    detail = (
        _said(outcome)
        | source
        | {
            "from": scene.refund.state.value,
            "holds": after.holds,
            "sent": after.sent,
            "open_sent": after.open_sent,
        }
        | ({"clears": True} if change.clears else {})
    )
    journal.append_event(
        scene.connection,
        scene.refund.id,
        scene.refund.event_seq + 1,
        after.state,
        change.event,
        after.attempt,
        detail,
        scene.now,
    )


def _announce(scene: Scene, change: Change, outcome: Outcome | None) -> None:
    state, target = change.standing.state, scene.refund.announce
    if target is None or state is scene.refund.state or state not in FINAL:
        return
    event = Event.REVERSED if state is REVERSED else Event.FINAL
    number = (outcome and outcome.provider_refund_no) or scene.refund.provider_refund_no
    payload = announcement(
        event,
        account=scene.refund.account,
        order_no=scene.order.order_no,
        refund_no=scene.refund.refund_no,
        amount=scene.refund.amount,
        state=state,
        provider_refund_no=number,
        reason=_why(change, outcome),
    )
    journal.add_announcement(scene.connection, scene.refund.id, event, target, payload, scene.now)


def _write_order(
    scene: Scene, change: Change, contested: Contested, next_at: datetime | None
) -> bool:
    order, refund, after = scene.order, scene.refund, change.standing
    values = moved(scene, after.state, contested)
    if change.freezes and order.frozen_at is None:
        values["frozen_at"] = scene.now
    lets_go = refund.standing.holds and not after.holds
    spacing = scene.line.account.scaled(scene.line.account.spacing_s)
    if lets_go and spacing and after.state is not QUEUED:
        values["spaced_until"] = scene.now + timedelta(seconds=spacing)
    if after.state is SUBMITTING and order.wake_at is not None:
        values["wake_at"] = None
    if values:
        update_order(scene.connection, order.id, values)
    if order.stopped or change.freezes:
        return False
    return _wake(scene, change, next_at, values.get("spaced_until", order.spaced_until))


def _wake(
    scene: Scene, change: Change, next_at: datetime | None, spaced_until: datetime | None
) -> bool:
    """Note when the order has to be looked at again; True where that is now."""
    after, before = change.standing, scene.refund.standing
    if after.holds and after.state is not QUEUED:
        return False
    freed = before.holds != after.holds or QUEUED in (before.state, after.state)
    unchanged = after.state is before.state and after.holds == before.holds
    if (unchanged or not freed) and not change.clears:
        return False
    at = (next_at if after.state is QUEUED else spaced_until) or scene.now
    due_now = at <= scene.now
    waits = after.state is QUEUED or scene.others_wait
    sweep_at = scene.now + WAKE_BACKUP if due_now else at
    update_order(scene.connection, scene.order.id, {"wake_at": sweep_at if waits else None})
    return waits and due_now
