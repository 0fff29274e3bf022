"""Settlements: one person proposes how a refund ended, another one approves it. Nobody does both.

The ledger holds both words against each other; no other step brings a refund to its end on
people's word (protocol, I6).
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from refundry import State
from worker.case_rules import CASE_RULES, Deed
from worker.decisions import settle
from worker.errors import Refused
from worker.ledger import proposals, reports
from worker.ledger.cases import lock_open_cases, update_case
from worker.ledger.journal import add_entry
from worker.ledger.proposals import Proposal
from worker.refund import FAILED, Case, Change
from worker.runtime import Runtime
from worker.steps.desk import Desk, lock_desk_of_refund, thaw
from worker.steps.large import approve_sending
from worker.steps.people import Person, checked_reason
from worker.steps.record import record
from worker.steps.scene import Scene, grace_end


@dataclass(frozen=True, kw_only=True, slots=True)
class Settlement:
    """A proposal, and how far it has come."""

    proposal: int
    case: int
    refund_no: str
    state: State
    #: The order to wake; None while nothing has changed.
    order_id: int | None = None


def propose(
    runtime: Runtime, case_id: int, state: State, who: Person, evidence: str = ""
) -> Settlement:
    """Say how a case's refund ended; nothing changes before another person approves it.

    Args:
        runtime: what the steps are given.
        case_id: an open case of the refund.
        state: what the refund is to become; its own where a contradiction is dismissed.
        who: the person, and why.
        evidence: what shows it; the reason, where nothing is given.

    Raises:
        Refused: no such case, another proposal is open, or why it cannot become that.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        desk, scene, refund = lock_desk_of_refund(connection, runtime, case_id)
        if not CASE_RULES[desk.case.kind].settles:
            said = f"case {case_id} ({desk.case.kind}) is not about how its refund ended"
            raise Refused("not_settleable", said)
        _refuse_second(desk.open_proposal())
        _settled(scene, state)
        values = {
            "case_id": case_id,
            "refund_id": refund.id,
            "state": state,
            "event_seq": refund.event_seq,
            "evidence": checked_reason(evidence or who.reason),
            "proposed_by": who.name,
            "proposed_at": scene.now,
        }
        number = proposals.insert_proposal(connection, values)
        desk.write(Deed.PROPOSED, who, proposal=number, state=state, evidence=values["evidence"])
    return Settlement(proposal=number, case=case_id, refund_no=refund.refund_no, state=state)


def _refuse_second(open_one: Proposal | None) -> None:
    if open_one is not None:
        raise Refused(
            "proposed",
            f"{open_one.proposed_by} has proposed {open_one.state} at {open_one.proposed_at} "
            f"(proposal {open_one.id}): approve or withdraw that first",
        )


def _settled(scene: Scene, state: State) -> Change:
    """The settlement as a change of the refund.

    Raises:
        Refused: why it cannot become that, or not yet.
    """
    refund = scene.refund
    change = settle(refund.standing, state, lost=refund.uncleared)
    if isinstance(change, str):
        raise Refused("not_settleable", f"{refund.refund_no} does not become {state}: {change}")
    if state is FAILED and (ends_at := grace_end(scene)) > scene.now:
        raise Refused(
            "too_early",
            f"an attempt of {refund.refund_no} may be under way, or be executed, until {ends_at}",
        )
    return change


def approve(runtime: Runtime, case_id: int, who: Person, proposal: int | None = None) -> Settlement:
    """Settle a refund as another person has proposed, if it stands as it did then.

    Or let a large one be sent that another person has asked for.

    ``proposal`` is its number, where the person wants to be sure of what is approved.

    Raises:
        Refused: nothing is proposed, or by the same person; or the refund has changed since.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        desk, scene, refund = lock_desk_of_refund(connection, runtime, case_id)
        if desk.case.kind is Case.APPROVAL:
            sending = approve_sending(desk, scene, who)
            return _settlement(sending, refund.refund_no, scene.order.id)
        word = _proposed(desk, proposal)
        if who.is_one_with(word.proposed_by):
            raise Refused("same_person", f"{word.proposed_by} has proposed it: another approves it")
        _refuse_changed(scene, word)
        change = _settled(scene, word.state)
        proposals.approve_proposal(connection, word, who.name, who.reason, scene.now)
        record(scene, change, source=_source(word, who))
        desk.write(Deed.APPROVED, who, proposal=word.id, state=word.state)
        _close_cases(connection, scene, word, who)
        thaw(connection, scene.order, scene.now)
    return _settlement(word, refund.refund_no, scene.order.id)


def _proposed(desk: Desk, number: int | None) -> Proposal:
    word = desk.open_proposal()
    if word is None or number not in (None, word.id):
        said = f"proposal {number} is not open" if number else "nothing is proposed"
        raise Refused("not_proposed", f"case {desk.case.id}: {said}")
    return word


def _refuse_changed(scene: Scene, word: Proposal) -> None:
    refund = scene.refund
    if refund.event_seq == word.event_seq:
        return
    since = reports.timeline(scene.connection, refund.id)[word.event_seq :]
    kinds = ", ".join(f"{one.kind} at {one.at}" for one in since)
    raise Refused(
        "changed_since",
        f"{refund.refund_no} is {refund.state} and has changed since it was proposed ({kinds}): "
        "look again, withdraw the proposal and make a new one",
    )


def _source(word: Proposal, who: Person) -> dict[str, Any]:
    """What the refund's event says of it."""
    return {
        "person": word.proposed_by,
        "approved_by": who.name,
        "evidence": word.evidence,
        "case": word.case_id,
        "proposal": word.id,
    }


def _close_cases(connection: Connection, scene: Scene, word: Proposal, who: Person) -> None:
    """Every case about how the refund ended is closed by its settlement."""
    said = f"settled to {word.state} by proposal {word.id}"
    for case in lock_open_cases(connection, scene.refund.id):
        if CASE_RULES[case.kind].settles:
            update_case(connection, case.id, {"closed_at": scene.now})
            add_entry(connection, case.id, Deed.CLOSED, who.name, scene.now, said)


def withdraw(runtime: Runtime, case_id: int, who: Person) -> Settlement:
    """Take an open proposal back; anybody may, and says why.

    Raises:
        Refused: nothing is proposed.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        desk, scene, refund = lock_desk_of_refund(connection, runtime, case_id)
        word = _proposed(desk, None)
        proposals.withdraw_proposal(connection, word.id, who.name, scene.now)
        desk.write(Deed.WITHDRAWN, who, proposal=word.id, state=word.state)
    return _settlement(word, refund.refund_no, None)


def _settlement(word: Proposal, refund_no: str, order_id: int | None) -> Settlement:
    return Settlement(
        proposal=word.id,
        case=word.case_id,
        refund_no=refund_no,
        state=word.state,
        order_id=order_id,
    )
