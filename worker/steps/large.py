"""Large refunds: who asked for one is one person, who lets it be sent is another."""

from typing import Any, Final

from worker.case_rules import Deed
from worker.decisions import let_go
from worker.errors import Refused
from worker.ledger import proposals
from worker.ledger.orders import update_order
from worker.ledger.proposals import Proposal
from worker.ledger.refunds import update_refund
from worker.ledger.rows import Refund
from worker.refund import QUEUED, SUBMITTING
from worker.steps.desk import Desk
from worker.steps.people import Person
from worker.steps.record import record
from worker.steps.scene import Scene

#: What is kept of a name, in characters.
_MAX_NAME: Final = 64


def requested_by(refund: Refund) -> str:
    """Who asked for a refund: the job's operator, or else the producer of its account."""
    operator = " ".join(str(refund.request.get("operator") or "").split())
    return operator[:_MAX_NAME] or f"producer of {refund.account}"[:_MAX_NAME]


def approve_sending(desk: Desk, scene: Scene, who: Person) -> Proposal:
    """Let a large refund be sent; its order is woken.

    Raises:
        Refused: it waits for no approval, or the person has asked for it.
    """
    refund = scene.refund
    if not refund.needs_approval or refund.state is not QUEUED:
        raise Refused("not_proposed", f"{refund.refund_no} is {refund.state}: nothing to approve")
    requester = requested_by(refund)
    if who.is_one_with(requester):
        raise Refused("same_person", f"{requester} has asked for it: another approves it")
    word = _word(desk, scene, requester)
    proposals.approve_proposal(scene.connection, word, who.name, who.reason, scene.now)
    update_refund(scene.connection, refund.id, {"needs_approval": False})
    source = {"person": requester, "approved_by": who.name, "case": desk.case.id}
    record(scene, let_go(refund.standing), source=source)
    if not scene.order.stopped:
        update_order(scene.connection, scene.order.id, {"wake_at": scene.now})
    desk.write(Deed.APPROVED, who, proposal=word.id, requested_by=requester)
    desk.close(who)
    return word


def _word(desk: Desk, scene: Scene, requester: str) -> Proposal:
    """The request is the first person's word."""
    refund = scene.refund
    values: dict[str, Any] = {
        "case_id": desk.case.id,
        "refund_id": refund.id,
        "state": SUBMITTING,
        "event_seq": refund.event_seq,
        "evidence": "requested",
        "proposed_by": requester,
        "proposed_at": refund.accepted_at,
    }
    return Proposal(id=proposals.insert_proposal(scene.connection, values), **values)
