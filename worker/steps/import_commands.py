"""What operators may do with an import: pause it, let it go on, end it."""

from typing import Any

from worker.errors import Refused
from worker.importing.words import ImportState
from worker.ledger.engine import Ledger
from worker.ledger.import_rows import cancel_waiting
from worker.ledger.imports import Import, update_import
from worker.steps.imports import locked_import


def pause(ledger: Ledger, import_id: int, reason: str) -> None:
    """Take no more rows in; those that were taken go their way.

    Raises:
        Refused: it does not run, or is not there.
    """
    with ledger.write() as connection:
        one = locked_import(connection, import_id)
        _must_be(one, ImportState.RUNNING)
        now = ledger.now(connection)
        update_import(connection, import_id, state=ImportState.PAUSED, reason=reason, state_at=now)


def resume(
    ledger: Ledger, import_id: int, *, budget: int | None = None, without_canary: bool = False
) -> None:
    """Let an import go on: one that is paused, or whose run was interrupted.

    Args:
        ledger: where it stands.
        import_id: which.
        budget: another cap than before, in fen.
        without_canary: do not wait for it any more.

    Raises:
        Refused: it is over, or is not there; or more than the budget is spent.
    """
    with ledger.write() as connection:
        one = locked_import(connection, import_id)
        _must_be(one, ImportState.PAUSED, ImportState.RUNNING)
        values: dict[str, Any] = {"state": ImportState.RUNNING, "reason": ""}
        if budget is not None:
            if budget < one.spent:
                said = f"{one.spent} fen are spent already; the budget cannot be {budget}"
                raise Refused("budget", said)
            values["budget"] = budget
        if without_canary:
            values["canary_passed"] = True
        update_import(connection, import_id, **values, state_at=ledger.now(connection))


def cancel(ledger: Ledger, import_id: int) -> None:
    """End an import; the rows that wait are not asked for, those that were taken go their way.

    Raises:
        Refused: it is over, or is not there.
    """
    with ledger.write() as connection:
        one = locked_import(connection, import_id)
        _must_be(one, ImportState.LOADING, ImportState.PAUSED, ImportState.RUNNING)
        now = ledger.now(connection)
        cancel_waiting(connection, import_id, now)
        canceled = {"state": ImportState.CANCELED, "reason": "by an operator", "state_at": now}
        update_import(connection, import_id, **canceled)


def _must_be(one: Import, *states: ImportState) -> None:
    if one.state not in states:
        wanted = " or ".join(states)
        raise Refused("import_state", f"import {one.id} is {one.state}, not {wanted}")
