"""Deeds: what is decided about refunds, written down for many orders in one transaction.

Each is decided on its own, with its order and refund locked, as if it were alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from worker.errors import LostCommits
from worker.ledger.engine import Ledger
from worker.ledger.scenes import lock_rows
from worker.lots import UNDONE, Undone
from worker.runtime import Line, Runtime
from worker.steps.scene import Scene, scene_of

_LANE: Final = "deeds"

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Deed:
    line: Line
    refund_id: int
    decide: Callable[[Scene], Any]


def write_down(
    runtime: Runtime,
    line: Line,
    order_id: int,
    refund_id: int,
    decide: Callable[[Scene], Result],
    *,
    first: bool = False,
) -> Result:
    """Have ``decide`` write into a scene, in a transaction that others may share; its result.

    It may be called twice: what failed with others is done again alone. ``first`` goes before what
    waits to be written.

    Raises:
        ServiceAway: the ledger does not answer; whether it was written is unknown.
        LostCommits: there is no such refund, or ``decide`` raised it.
    """
    lane = runtime.lanes.get(_LANE, partial(_together, runtime.ledger))
    deed = _Deed(line=line, refund_id=refund_id, decide=decide)
    result: Result = lane.do(deed, order_id, first=first)
    return result


def _together(ledger: Ledger, deeds: list[_Deed], patient: bool) -> list[Any | Undone]:
    results: dict[int, Any] = {}
    with ledger.write() as connection:
        ids = [deed.refund_id for deed in deeds]
        locked = lock_rows(connection, ledger.time, ids, if_free=not patient)
        found = {one.refund.id: one for one in locked}
        if patient and len(found) < len(deeds):
            raise LostCommits("the ledger has not the refund any more")
        # by account: whoever writes several accounts' rows locks them in one order
        for deed in sorted(deeds, key=lambda deed: deed.line.account.name):
            if deed.refund_id in found:
                scene = scene_of(connection, deed.line, found[deed.refund_id])
                results[deed.refund_id] = deed.decide(scene)
    return [results.get(deed.refund_id, UNDONE) for deed in deeds]
