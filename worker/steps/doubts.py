"""Bills that are likely read wrongly: stopped before each line has a case, and accepted."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from config.statements import StatementLayout
from worker.case_rules import Deed
from worker.errors import Refused
from worker.ledger import matching
from worker.ledger.cases import find_open_case_about, update_case
from worker.ledger.journal import OURSELVES, add_entry, open_case_about, storable
from worker.ledger.statements import Statement, get_statement, lock_statement, update_statement
from worker.refund import Case
from worker.runtime import Line, Runtime
from worker.statements.doubting import Doubt, Limits, doubt
from worker.statements.judging import Result
from worker.steps.differ import Counts, their_evidence
from worker.steps.people import Person

#: Lines that a case shows of a bill.
SHOWN: Final = 3


def limits_of(line: Line) -> Limits:
    """From when on a bill of the account is doubted."""
    layout, usual = line.account.statement, StatementLayout.model_fields
    lines = layout.doubt_lines if layout else usual["doubt_lines"].default
    return Limits(lines=lines, share=layout.doubt_share if layout else usual["doubt_share"].default)


def reloaded(runtime: Runtime, statement: Statement) -> tuple[Statement, datetime]:
    """A bill as it is by now, and the time."""
    with runtime.ledger.read() as connection:
        found = get_statement(connection, statement.id)
        assert found is not None
        return found, runtime.ledger.now(connection)


def is_stopped(runtime: Runtime, line: Line, statement: Statement, counts: Counts) -> bool:
    """Whether a bill, all of whose lines were looked at, waits for a person.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    statement, _ = reloaded(runtime, statement)
    if statement.stopped or statement.accepted_at is not None or statement.completed_at is not None:
        return statement.stopped
    found = doubt(statement.signs, statement.lines, limits_of(line))
    if found is not None:
        stop(runtime, statement, found, counts)
    return found is not None


def stop(runtime: Runtime, statement: Statement, found: Doubt, counts: Counts) -> None:
    """One finding, with a case, in place of all that differs."""
    with runtime.ledger.write() as connection:
        locked = lock_statement(connection, statement.id)
        if locked.doubt is not None:
            return
        now = runtime.ledger.now(connection)
        update_statement(connection, statement.id, {"doubt": str(found)})
        shown = matching.undone_lines(connection, statement.id, Result.DIFFERS, 0, SHOWN)
        evidence = {
            "statement": statement.id,
            "file": storable(statement.file_name),
            "said": str(found),
            "lines": [their_evidence(locked, one.line) for one in shown],
        }
        counts["cases"] += _open_case(connection, locked, evidence, now)


def _open_case(
    connection: Connection, statement: Statement, evidence: dict[str, Any], now: datetime
) -> bool:
    """A case of the file: read again and doubted again, it is noted in the same."""
    about, kind = storable(statement.file_name), Case.DOUBTFUL_BILL
    if open_case_about(connection, statement.account, kind, about, evidence, now):
        return True
    case = find_open_case_about(connection, statement.account, kind, about)
    if case is not None:
        add_entry(connection, case.id, Deed.NOTED, OURSELVES, now, evidence["said"], evidence)
    return False


def accept(runtime: Runtime, statement_id: int, who: Person) -> Statement:
    """Have a bill compared that was stopped: it is right as it was read; its case is closed.

    Raises:
        Refused: there is no such bill, or it waits for nobody.
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        if get_statement(connection, statement_id) is None:
            raise Refused("not_found", f"there is no statement {statement_id}")
        statement = lock_statement(connection, statement_id)
        if not statement.stopped or statement.whole_at is None:
            raise Refused("not_stopped", f"statement {statement_id} waits for nobody")
        now = runtime.ledger.now(connection)
        update_statement(connection, statement_id, {"accepted_at": now})
        about = storable(statement.file_name)
        case = find_open_case_about(
            connection, statement.account, Case.DOUBTFUL_BILL, about, lock=True
        )
        if case is not None:
            update_case(connection, case.id, {"closed_at": now})
            add_entry(connection, case.id, Deed.CLOSED, who.name, now, who.reason, who.detail)
        return lock_statement(connection, statement_id)
