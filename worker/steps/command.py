"""What producers and operators may ask for: resubmission, cancel, pause."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from worker.case_rules import AccountDeed
from worker.decisions import cancel, resubmit
from worker.errors import Refused
from worker.ledger.accounts import (
    add_account_entry,
    lock_account,
    pause_account,
    resume_account,
)
from worker.ledger.engine import Ledger
from worker.ledger.funds import try_short_ones
from worker.ledger.journal import has_open_case
from worker.ledger.personal_data import kept_of
from worker.ledger.refunds import find_refund
from worker.personal import SEALED_NAMES
from worker.refund import FAILED, QUEUED
from worker.runtime import Runtime
from worker.steps.people import Person
from worker.steps.record import record
from worker.steps.scene import Scene, lock_scene

#: Why nothing is done about a refund now.
MAY_HAVE_BEEN_SENT: Final = (
    "may have been sent before the ledger was restored: its provider is asked first; try again "
    "once it is cleared (`refundry accounts` counts those that are not)"
)


def resubmit_refund(runtime: Runtime, account: str, refund_no: str, after_attempt: int) -> int:
    """Queue a failed refund again under its own number; returns the order to wake.

    Raises:
        Refused: it is not failed, not after that attempt, in a case, or the amount is gone; or a
            restored ledger may have lost a resubmission.
        ServiceAway: the ledger does not answer.
    """
    line = runtime.line(account)
    if not line.provider.traits.resubmits:
        raise Refused(
            "not_resubmittable",
            f"{line.account.provider} takes no failed number again; request a new refund",
        )
    with runtime.ledger.write() as connection:
        scene = _scene(connection, runtime, account, refund_no)
        _refuse_uncleared(scene)
        _check_resubmission(scene, after_attempt)
        record(scene, resubmit(scene.refund.standing))
    return scene.order.id


def _check_resubmission(scene: Scene, after_attempt: int) -> None:
    order, refund = scene.order, scene.refund
    if refund.state is not FAILED or refund.standing.attempt != after_attempt:
        raise Refused(
            "not_failed",
            f"{refund.refund_no} is {refund.state} after attempt {refund.standing.attempt}; "
            f"only a refund that failed in attempt {after_attempt} can be resubmitted",
        )
    if refund.request.get(SEALED_NAMES) and _is_purged(scene):
        raise Refused(
            "personal_purged",
            f"{refund.refund_no} cannot be sent again: its personal data was purged after it had "
            "failed; request a new refund",
        )
    if has_open_case(scene.connection, refund.id):
        raise Refused("open_case", f"{refund.refund_no} has an open case; settle it first")
    left = min(
        order.paid_amount - order.spoken_for + refund.marketing_amount,
        order.order_amount - order.total_spoken_for,
    )
    if refund.amount > left:
        raise Refused(
            "over_refund", f"{refund.amount} fen are more than the {left} left of the order"
        )


def _is_purged(scene: Scene) -> bool:
    kept = kept_of(scene.connection, scene.refund.id)
    return kept is None or kept.purged_at is not None


def cancel_refund(runtime: Runtime, account: str, refund_no: str) -> int:
    """Cancel a refund of which nothing may have been sent; returns the order to wake.

    Raises:
        Refused: an attempt may have been sent, or it is final; or a restored ledger may have
            lost one.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        scene = _scene(connection, runtime, account, refund_no)
        _refuse_uncleared(scene)
        change = cancel(scene.refund.standing)
        if change is None:
            raise Refused(
                "not_cancelable",
                f"{refund_no} is {scene.refund.state} after {scene.refund.standing.sent} attempts "
                "that may have been sent; only what was never sent can be canceled",
            )
        record(scene, change)
    return scene.order.id


def _refuse_uncleared(scene: Scene) -> None:
    if scene.refund.uncleared and scene.refund.state in (QUEUED, FAILED):
        raise Refused("query_first", f"{scene.refund.refund_no} {MAY_HAVE_BEEN_SENT}")


def _scene(connection: Connection, runtime: Runtime, account: str, refund_no: str) -> Scene:
    line = runtime.line(account)
    found = find_refund(connection, line.provider.merchant, refund_no)
    if found is None or found.account != account:
        raise Refused("not_found", f"account {account!r} has no refund {refund_no!r}")
    return lock_scene(connection, runtime.ledger, line, found.id)


def pause(ledger: Ledger, account: str, who: Person) -> None:
    """Stop sending for an account; asking goes on, nothing fails.

    Raises:
        Refused: it is paused already, or not in the ledger.
    """
    with ledger.write() as connection:
        if not pause_account(connection, account, who.word, ledger.now(connection)):
            raise Refused("not_pausable", f"account {account!r} is paused already or unknown")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """What waited for an account's balance and is sent now; the amount is in fen."""

    refunds: int
    amount: int


def try_funds(ledger: Ledger, account: str, who: Person) -> Tried:
    """The balance was filled up: what waits for it is due now, its waits begin anew.

    Raises:
        Refused: the ledger has no such account.
    """
    with ledger.write() as connection:
        now = ledger.now(connection)
        number, amount = try_short_ones(connection, account, now)
        if not lock_account(connection, account):
            raise Refused("unknown_account", f"the ledger has no account {account!r}")
        add_account_entry(connection, account, AccountDeed.FUNDED, who.word, now)
    return Tried(refunds=number, amount=amount)


def resume(ledger: Ledger, account: str, who: Person) -> None:
    """Send again for an account, its breaker closed; the sweep wakes its orders.

    Raises:
        Refused: it was neither paused nor stopped by its breaker.
    """
    with ledger.write() as connection:
        if not resume_account(connection, account, who.word, ledger.now(connection)):
            raise Refused(
                "not_paused", f"account {account!r} is not paused, nor is its breaker open"
            )
