"""A case on somebody's desk: locked with the order and the refund that it is of."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from worker.case_rules import Deed
from worker.errors import Refused
from worker.ledger.cases import (
    CaseRow,
    find_case,
    find_open_case,
    lock_case,
    update_case,
)
from worker.ledger.journal import add_entry
from worker.ledger.orders import lock_order, update_order
from worker.ledger.proposals import Proposal, lock_open_proposal
from worker.ledger.refunds import lock_refund
from worker.ledger.rows import Order, Refund
from worker.refund import Case
from worker.runtime import Runtime
from worker.steps.people import Person
from worker.steps.scene import Scene, lock_scene

#: Kinds of cases that keep their order from sending until they are closed.
STOPPING: Final = (Case.CONTRADICTED, Case.STATE_DIFFERS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """A locked case."""

    connection: Connection
    case: CaseRow
    order: Order | None
    refund: Refund | None
    now: datetime

    def write(self, what: Deed, who: Person, **detail: object) -> None:
        """Write down what somebody did about the case."""
        noted = who.detail | detail
        add_entry(self.connection, self.case.id, what, who.name, self.now, who.reason, noted)

    def close(self, who: Person, **detail: object) -> None:
        """Nobody has to look at it any more."""
        update_case(self.connection, self.case.id, {"closed_at": self.now})
        self.write(Deed.CLOSED, who, **detail)

    def open_proposal(self) -> Proposal | None:
        """What is proposed of its refund."""
        return lock_open_proposal(self.connection, self.refund.id) if self.refund else None


def lock_desk(connection: Connection, runtime: Runtime, case_id: int) -> Desk:
    """Lock a case and what it is of: the order first, then the refund.

    Raises:
        Refused: there is no such case, or it is closed.
    """
    found = find_case_or_refuse(connection, case_id)
    order = lock_order(connection, found.order_id) if found.order_id else None
    refund = lock_refund(connection, found.refund_id) if found.refund_id else None
    case = _lock_open(connection, case_id)
    now = runtime.ledger.now(connection)
    return Desk(connection=connection, case=case, order=order, refund=refund, now=now)


def _lock_open(connection: Connection, case_id: int) -> CaseRow:
    case = lock_case(connection, case_id)
    if case.closed_at is not None:
        raise Refused("closed", f"case {case_id} was closed at {case.closed_at}")
    return case


def find_case_or_refuse(connection: Connection, case_id: int) -> CaseRow:
    """A case, not locked.

    Raises:
        Refused: there is no such case.
    """
    found = find_case(connection, case_id)
    if found is None:
        raise Refused("not_found", f"there is no case {case_id}")
    return found


def lock_desk_of_refund(
    connection: Connection, runtime: Runtime, case_id: int
) -> tuple[Desk, Scene, Refund]:
    """Lock a case of a refund, for what is decided about the refund.

    Raises:
        Refused: there is no such case, it is closed, or of no refund; its account is not set up.
    """
    found = find_case_or_refuse(connection, case_id)
    if found.refund_id is None:
        raise Refused("no_refund", f"case {case_id} is of no refund of ours: {found.subject}")
    line = runtime.line(found.account)
    scene = lock_scene(connection, runtime.ledger, line, found.refund_id)
    desk = Desk(
        connection=connection,
        case=_lock_open(connection, case_id),
        order=scene.order,
        refund=scene.refund,
        now=scene.now,
    )
    return desk, scene, scene.refund


def thaw(connection: Connection, order: Order, now: datetime) -> None:
    """The order, which is locked, goes on once nothing of it is contradicted."""
    kinds = (find_open_case(connection, order.id, kind) for kind in STOPPING)
    if order.frozen_at is not None and not any(kinds):
        update_order(connection, order.id, {"frozen_at": None, "wake_at": now})
