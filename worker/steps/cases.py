"""What one person may do about a case: note, assign, ask, send again, close; all written down."""

from dataclasses import replace

from worker.case_rules import Deed, why_not_closed
from worker.decisions import send_again
from worker.errors import Refused
from worker.ledger.cases import CaseRow, lock_case, lock_open_cases, update_case
from worker.ledger.journal import add_entry
from worker.ledger.refunds import update_refund
from worker.refund import ASKED_ABOUT, QUEUED, Case
from worker.runtime import Runtime
from worker.steps.desk import (
    STOPPING,
    find_case_or_refuse,
    lock_desk,
    lock_desk_of_refund,
    thaw,
)
from worker.steps.people import Person, checked_name
from worker.steps.record import record
from worker.steps.scene import Scene, earliest_ask


def note(runtime: Runtime, case_id: int, who: Person) -> CaseRow:
    """Add the person's words to a case, a closed one too.

    Raises:
        Refused: there is no such case.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        case = find_case_or_refuse(connection, case_id)
        now = runtime.ledger.now(connection)
        add_entry(connection, case.id, Deed.NOTED, who.name, now, who.reason, who.detail)
    return case


def assign(runtime: Runtime, case_id: int, owner: str, who: Person) -> CaseRow:
    """Give a case to somebody.

    Raises:
        Refused: no such case, it is closed, or no name.
        ServiceAway: the ledger does not answer.
    """
    owner = checked_name(owner)
    with runtime.ledger.write() as connection:
        desk = lock_desk(connection, runtime, case_id)
        update_case(connection, case_id, {"owner": owner})
        desk.write(Deed.ASSIGNED, who, owner=owner, before=desk.case.owner)
        return lock_case(connection, case_id)


def close(runtime: Runtime, case_id: int, who: Person) -> CaseRow:
    """Close a case of which nothing is open.

    Raises:
        Refused: no such case, or why it cannot be closed.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        desk = lock_desk(connection, runtime, case_id)
        why = why_not_closed(
            desk.case.kind,
            desk.refund.standing if desk.refund else None,
            proposed=desk.open_proposal() is not None,
            held=desk.order is not None and desk.order.hold_token is not None,
        )
        if why is not None:
            raise Refused("not_closable", f"case {case_id} stays open: {why}")
        desk.close(who)
        if desk.order is not None and desk.case.kind in STOPPING:
            thaw(connection, desk.order, desk.now)
        return lock_case(connection, case_id)


def ask(runtime: Runtime, case_id: int, who: Person) -> CaseRow:
    """Have the provider asked about a case's refund now, or as soon as it allows.

    Raises:
        Refused: no such case, or why nobody can be asked.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        desk, scene, refund = lock_desk_of_refund(connection, runtime, case_id)
        why = _why_not_asked(scene)
        if why is not None:
            raise Refused("not_askable", f"nobody is asked about {refund.refund_no}: {why}")
        due_at = earliest_ask(scene)
        update_refund(connection, refund.id, {"due_at": due_at})
        desk.write(Deed.ASKED, who, due_at=due_at.isoformat())
        return desk.case


def _why_not_asked(scene: Scene) -> str | None:
    refund = scene.refund
    if not scene.line.account.query:
        return "the query of its account is off"
    if refund.state in ASKED_ABOUT or (refund.state is QUEUED and refund.uncleared):
        return None
    return f"it is {refund.state}"


def send(runtime: Runtime, case_id: int, who: Person) -> CaseRow:
    """Queue a refund once more under its number, where the provider cannot execute it twice.

    The word counts once: ``not_resendable`` is closed, and opens anew if the provider does not know
    the next attempt either.

    Raises:
        Refused: no such case, or why it cannot be sent again.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        desk, scene, refund = lock_desk_of_refund(connection, runtime, case_id)
        open_cases = lock_open_cases(connection, refund.id)
        used_up = [case for case in open_cases if case.kind is Case.NOT_RESENDABLE]
        change = send_again(
            refund.standing,
            scene.line.rules,
            not_resendable=bool(used_up),
            lost=refund.uncleared,
        )
        if desk.open_proposal() is not None:
            change = "a settlement is proposed: withdraw it first"
        if isinstance(change, str):
            raise Refused("not_sendable", f"{refund.refund_no} is not sent again: {change}")
        source = {"person": who.name, "why": who.reason, "case": case_id}
        record(scene, change, source=source)
        desk.write(Deed.SENT, who, attempt=refund.standing.attempt + 1)
        for case in used_up:
            replace(desk, case=case).close(who)
        return desk.case
