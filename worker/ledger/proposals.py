"""Queries on settlements: what one person proposes, and another approves."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select, text, update

from refundry import State
from worker.ledger.tables import approvals, proposals


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What one person says that a refund has come to."""

    id: int
    case_id: int
    refund_id: int
    state: State
    #: The refund's last event when it was proposed.
    event_seq: int
    evidence: str
    proposed_by: str
    proposed_at: datetime


_FIELDS: Final = tuple(field.name for field in fields(Proposal))


def lock_open_proposal(connection: Connection, refund_id: int) -> Proposal | None:
    """The refund's open proposal, locked; the refund must be locked already."""
    found = connection.execute(
        select(*(proposals.c[name] for name in _FIELDS))
        .where(proposals.c.refund_id == refund_id, text("closed_at IS NULL"))
        .with_for_update()
    ).first()
    if found is None:
        return None
    return Proposal(**{**found._mapping, "state": State(found.state)})


def insert_proposal(connection: Connection, values: dict[str, Any]) -> int:
    """Add a proposal; its number."""
    written = connection.execute(insert(proposals).values(values).returning(proposals.c.id))
    return int(written.scalar_one())


def withdraw_proposal(connection: Connection, proposal_id: int, by: str, now: datetime) -> None:
    """It is not to be approved any more."""
    closed = update(proposals).where(proposals.c.id == proposal_id)
    connection.execute(closed.values(closed_at=now, withdrawn_by=by))


def approve_proposal(
    connection: Connection, proposal: Proposal, by: str, reason: str, now: datetime
) -> None:
    """Another person's word, which the ledger holds against the first one's."""
    approval = {"proposal_id": proposal.id, "proposed_by": proposal.proposed_by}
    word = {"approved_by": by, "approved_at": now, "reason": reason}
    connection.execute(insert(approvals).values(approval | word))
    connection.execute(update(proposals).where(proposals.c.id == proposal.id).values(closed_at=now))


def proposals_of(connection: Connection, refund_id: int) -> list[dict[str, Any]]:
    """Every proposal of a refund with its approval, the first first."""
    rows = connection.execute(
        select(proposals, approvals.c.approved_by, approvals.c.approved_at, approvals.c.reason)
        .outerjoin(approvals, approvals.c.proposal_id == proposals.c.id)
        .where(proposals.c.refund_id == refund_id)
        .order_by(proposals.c.id)
    )
    return [dict(row._mapping) for row in rows]


def approved_proposals(connection: Connection, refund_ids: Sequence[int]) -> list[dict[str, Any]]:
    """The approved proposals of some refunds."""
    if not refund_ids:
        return []
    rows = connection.execute(
        select(proposals, approvals.c.approved_by)
        .join(approvals, approvals.c.proposal_id == proposals.c.id)
        .where(proposals.c.refund_id.in_(refund_ids))
    )
    return [dict(row._mapping) for row in rows]
