"""Query first: after a restore nothing is sent before what may have been lost was asked about.

Whatever was sent after the backup is in the provider's book alone. So a refund goes only once it is
*cleared*: the provider was asked about it, after all that may have been on its way has arrived,
and has not executed it (protocol, "After a restore").
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from worker.errors import Refused
from worker.ledger import query_first
from worker.ledger.orders import ensure_account
from worker.ledger.rows import Refund
from worker.refund import Change
from worker.runtime import Line, Runtime
from worker.steps.record import record
from worker.steps.scene import lock_scene

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """An account that asks first, and how many of its refunds are to be asked about."""

    account: str
    to_ask: int


def begin(runtime: Runtime, accounts: Collection[str], reason: str) -> list[Begun]:
    """Have the accounts ask first, of all if none is named, and those they share orders with.

    What was cleared before has to be cleared again: the ledger may have been restored again.

    Raises:
        Refused: there is no such account.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        names = query_first.accounts_beside(connection, accounts)
        if strange := sorted(set(accounts) - set(names)):
            raise Refused("unknown_account", f"the ledger has no account {', '.join(strange)}")
        now = runtime.ledger.now(connection)
        for name in names:
            query_first.wake_queued(connection, name, now)
        begun = []
        for name in names:
            at = now + timedelta(seconds=_wait_s(runtime.lines.get(name)))
            failed_too = name in runtime.resubmitting
            to_ask = query_first.ask_at(connection, name, at, failed_too=failed_too)
            begun.append(Begun(account=name, to_ask=to_ask))
        query_first.set_mode(connection, names, now, reason)
    return begun


def _wait_s(line: Line | None) -> float:
    """A lost attempt may have begun just now, and its provider may not be asked at once."""
    return line.account.scaled(line.provider.traits.query_not_before_s) if line else 0.0


def begin_after_loss(runtime: Runtime, line: Line, refund: Refund, what: str, at: datetime) -> None:
    """The ledger has not what was committed to it at ``at``, so it may have lost more than that.

    Where the merchant asks first since later than that already, what arrives is waited for anyway,
    and only the refund is asked about at once: a loss that many notice begins once.

    Args:
        runtime: what the steps are given.
        line: the account's.
        refund: as it was when that was committed; its row may be gone, or be another one's.
        what: was lost, in words.
        at: the ledger's time at that commit.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    account = line.account
    with runtime.ledger.write() as connection:
        ensure_account(connection, account.name, account.provider, line.provider.merchant)
        since = {one.account: one.since for one in query_first.modes(connection)}
        begun = account.name in since and since[account.name] >= at
        if begun:
            now = runtime.ledger.now(connection)
            query_first.ask_at(
                connection,
                account.name,
                now + timedelta(seconds=_wait_s(line)),
                failed_too=account.name in runtime.resubmitting,
                refund_no=refund.refund_no,
            )
    _log.error(
        "ledger.lost_commits",
        account=account.name,
        refund_no=refund.refund_no,
        lost=what,
        committed_at=at.isoformat(),
        begins=not begun,
    )
    if not begun:
        reason = f"the ledger lost {what} of refund {refund.refund_no}, committed {at.isoformat()}"
        begin(runtime, [account.name], reason)


def end(runtime: Runtime, account: str, *, even_so: str | None = None) -> None:
    """Send again for an account whatever is queued.

    Args:
        runtime: what the steps are given.
        account: as ``accounts.toml`` names it.
        even_so: why a person, who has compared the provider's book, clears what is not cleared.

    Raises:
        Refused: it does not ask first, or something of its merchant may still be under way.
        ServiceAway: the ledger does not answer.
    """
    line = runtime.line(account)
    if even_so is not None:
        _clear_by_hand(runtime, line, even_so)
    with runtime.ledger.write() as connection:
        mode = {one.account: one for one in query_first.modes(connection)}.get(account)
        if mode is None:
            raise Refused("not_query_first", f"account {account!r} does not ask first")
        now = runtime.ledger.now(connection)
        query_first.wake_queued(connection, account, now)
        if even_so is None:
            left = query_first.count_uncleared(connection, account, runtime.resubmitting)
            _refuse_too_early(line, mode.since, now, left)
        query_first.set_mode(connection, [account], None, None)


def _refuse_too_early(line: Line, since: datetime, now: datetime, left: dict[str, int]) -> None:
    if left:
        said = ", ".join(f"{number} {state}" for state, number in sorted(left.items()))
        raise Refused(
            "uncleared",
            f"of {line.account.name}'s merchant these refunds may have been sent, and their "
            f"provider has not answered conclusively: {said}; wait, or compare with the provider's "
            "statement and add --even-so with a reason",
        )
    ends_at = since + timedelta(seconds=line.account.grace_s)
    if now < ends_at:
        raise Refused("uncleared", f"what was sent before may arrive until {ends_at}; wait")


def _clear_by_hand(runtime: Runtime, line: Line, why: str) -> None:
    """A person says of each that it was not executed; never of one that its provider knows."""
    account = line.account.name
    with runtime.ledger.read() as connection:
        known = query_first.count_lost_intents(connection, account)
        left = query_first.uncleared(connection, account, runtime.resubmitting)
    if known:
        raise Refused(
            "lost_intent",
            f"{known} queued refunds of {account} are known to the provider and would be executed "
            "again; wait until it says what became of them",
        )
    for refund_id in left:
        with runtime.ledger.write() as connection:
            scene = lock_scene(connection, runtime.ledger, line, refund_id)
            if scene.refund.uncleared:
                change = Change(event="cleared", standing=scene.refund.standing, clears=True)
                record(scene, change, source={"person": why})
