"""Notify: takes what a provider says by itself. Verify, store, decide, commit, then acknowledge.

The route that receives it only carries bytes; a message that was not committed was not
acknowledged, so the provider sends it again.
"""

from dataclasses import dataclass
from typing import Final

import structlog

from worker.decisions import decide_mismatch, decide_notification
from worker.errors import NoAnswer, Refused
from worker.ledger.callbacks import (
    Callback,
    count_refused_callback,
    keep_callback,
    last_callback,
    refunds_to_look_at,
    storable_number,
)
from worker.ledger.refunds import find_refund, note_number, update_refund
from worker.providers.base import Acknowledgement, Notification, Notifies
from worker.refund import SUCCEEDED, Change, Notice, Outcome, Verdict
from worker.runtime import Line, Runtime
from worker.steps.record import record
from worker.steps.scene import Scene, due_at, grace_end, lock_scene
from worker.steps.submit import facts_of

_log = structlog.get_logger(__name__)

#: What is stored instead of a verdict: about our number, but another order or amount.
CONTRADICTS: Final = "contradicts"
#: What is stored instead of a verdict: about a number that nobody here has asked for.
NOT_OURS: Final = "not_ours"


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What became of a notification, and what the provider is answered."""

    #: It was rightly signed, and what it shows is committed.
    accepted: bool
    answer: Acknowledgement
    #: An order that has work to do now.
    wake: int | None = None


def take_notification(runtime: Runtime, account: str, content_type: str, body: bytes) -> Taken:
    """Take a provider's own message, which came to the account's address.

    Args:
        runtime: what the steps are given.
        account: as the address names it.
        content_type: of the request, as it came.
        body: the request's bytes, as they came.

    Raises:
        Refused: ``unknown_account``; ``no_notifications``, where the provider sends none.
        ServiceAway: the ledger does not answer; the provider is to repeat the message.
    """
    line = _line(runtime, account)
    provider = _notifying(runtime, line)
    try:
        message = provider.open_notification(content_type, body)
    except NoAnswer as error:
        _refuse(runtime, account, error.code, str(error))
        return Taken(accepted=False, answer=provider.declined)
    wake = _write_down(runtime, line, message, content_type, body)
    return Taken(accepted=True, answer=provider.taken, wake=wake)


def look_again(runtime: Runtime, limit: int) -> list[int]:
    """Believe declines that came too early for it; the orders that have work to do now.

    Only where the provider cannot be asked: elsewhere a decline is a reason to ask, no more.
    """
    wake: list[int] = []
    for name, line in runtime.lines.items():
        if line.account.query or not line.hears:
            continue
        with runtime.ledger.read() as connection:
            now = runtime.ledger.now(connection)
            found = refunds_to_look_at(connection, name, now, limit)
        wake += [order_id for order_id, refund_id in found if _look_at(runtime, line, refund_id)]
    return wake


def _line(runtime: Runtime, account: str) -> Line:
    try:
        return runtime.line(account)
    except Refused as refused:
        _refuse(runtime, "", refused.code, str(refused))
        raise


def _notifying(runtime: Runtime, line: Line) -> Notifies:
    if isinstance(line.provider, Notifies):
        return line.provider
    name, code = line.account.name, "no_notifications"
    _refuse(runtime, name, code, f"{line.account.provider} sends none")
    raise Refused(code, f"account {name}: {line.account.provider} sends no notifications")


def _refuse(runtime: Runtime, account: str, code: str, why: str) -> None:
    """Count it, and keep nothing of what anybody can send."""
    _log.warning("notify.refused", account=account, code=code, why=why)
    with runtime.ledger.write() as connection:
        count_refused_callback(connection, account, code, runtime.ledger.now(connection))


def _write_down(
    runtime: Runtime, line: Line, message: Notification, content_type: str, body: bytes
) -> int | None:
    """Store it and apply what it shows, in one transaction; the order that has work to do now."""
    ledger, number = runtime.ledger, storable_number(message.refund_no)
    account = line.account.name
    read: dict[str, object] = {"refund_no": number, "stale": message.stale}
    with ledger.write() as connection:
        refund = find_refund(connection, line.provider.merchant, number)
        if refund is None:
            read |= {"refund_id": None, "verdict": NOT_OURS}
            keep_callback(connection, account, content_type, body, read, ledger.now(connection))
            _log.warning("notify.not_ours", account=account, refund_no=number)
            return None
        own = runtime.lines.get(refund.account, line)  # another account of the same merchant
        scene = lock_scene(connection, ledger, own, refund.id)
        outcome, fits = _read(line, scene, message)
        read |= {"refund_id": refund.id, "verdict": outcome.verdict if fits else CONTRADICTS}
        kept = keep_callback(connection, account, content_type, body, read, scene.now)
        return refund.order_id if _apply(scene, kept, outcome) else None


def _read(line: Line, scene: Scene, message: Notification) -> tuple[Outcome, bool]:
    """What it shows, and whether that is of the refund that we asked for."""
    provider = line.provider
    assert isinstance(provider, Notifies)
    try:
        return provider.read_notification(facts_of(scene.order, scene.refund), message), True
    except NoAnswer as error:
        outcome = Outcome(verdict=Verdict.UNKNOWN, code=CONTRADICTS, message=str(error))
        return outcome, False


def _apply(scene: Scene, kept: Callback, outcome: Outcome) -> bool:
    """Decide and write down; True: the order has work to do now."""
    change = _decide(scene, kept, outcome)
    if change is None:
        if scene.refund.state is SUCCEEDED and outcome.verdict is Verdict.SUCCEEDED:
            note_number(scene.connection, scene.refund.id, outcome.provider_refund_no)
        return False
    source = {"callback": kept.id} | ({"stale": True} if kept.stale else {})
    return record(scene, change, outcome, source=source)


def _decide(scene: Scene, kept: Callback, outcome: Outcome) -> Change | None:
    standing, rules = scene.refund.standing, scene.line.rules
    if kept.verdict == CONTRADICTS:
        return decide_mismatch(standing, rules)
    # nobody can say which attempt a decline is of, where a restored ledger may have lost some
    lost = scene.refund.may_lack_attempts and not rules.asks
    after_grace = scene.now >= grace_end(scene) and not lost
    notice = Notice(verdict=outcome.verdict, stale=kept.stale, after_grace=after_grace)
    return decide_notification(standing, notice, rules)


def _look_at(runtime: Runtime, line: Line, refund_id: int) -> bool:
    with runtime.ledger.write() as connection:
        scene = lock_scene(connection, runtime.ledger, line, refund_id)
        if scene.refund.due_at is None or scene.refund.due_at > scene.now:
            return False
        unchanged = Change(event="looked_at", standing=scene.refund.standing)
        update_refund(connection, refund_id, {"due_at": due_at(scene, unchanged)})
        kept = last_callback(connection, refund_id, Verdict.REJECTED)
        outcome = Outcome(verdict=Verdict.REJECTED, code="notified")
        return kept is not None and _apply(scene, kept, outcome)
