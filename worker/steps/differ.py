"""What differs is written down with its case; each difference once."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from worker.ledger import matching
from worker.ledger.differences import Difference, keep_differences
from worker.ledger.journal import storable
from worker.ledger.matching import KeptLine
from worker.ledger.statements import Statement, Unlisted, update_statement
from worker.refund import SUCCEEDED, Case
from worker.runtime import Line
from worker.statements.doubting import Sign
from worker.statements.judging import Ours, Result
from worker.statements.reading import StatementLine

Counts = Counter[str]
#: Lines are on their way from one of these to a result.
_UNCOUNTED: Final = (Result.NEW, Result.UNNUMBERED, Result.LINKED)
_UNDECIDED: Final = (*_UNCOUNTED, Result.DIFFERS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """A chunk of a bill that is compared, in a transaction that has the bill locked.

    What is found is written at the end, a statement for each result and each kind of row.
    """

    connection: Connection
    line: Line
    statement: Statement
    now: datetime
    #: The run that compares it, if one does.
    run_id: int | None = None
    #: How many lines got which result; what is only on its way to one is not counted.
    counts: Counts = field(default_factory=Counter)
    #: How many more of the bill's lines have which result, and differ in which way.
    _moved: Counts = field(default_factory=Counter)
    _signs: Counts = field(default_factory=Counter)
    _results: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _found: list[Difference] = field(default_factory=list)

    @property
    def merchant(self) -> str:
        return self.line.provider.merchant

    def link(self, one: KeptLine, refund_id: int) -> None:
        """The refund that a line is of; what comes of that is written later."""
        number = one.line.number
        matching.link_line(self.connection, self.statement.id, number, refund_id, self.now)
        self._moved[one.result] -= 1

    def write(self, one: KeptLine, result: str) -> None:
        """A line's result."""
        self._results[result].append(one.line.number)
        self._moved[one.result] -= 1
        self._moved[result] += 1
        if result not in _UNDECIDED:
            self.counts[result] += 1
        if one.result == Result.WAITING:
            self.counts["answered"] += 1

    def differs(self, one: KeptLine, sign: Sign) -> None:
        """A line differs in that way; nothing comes of it yet."""
        self.write(one, Result.DIFFERS)
        self._signs[sign] += 1

    def keep(self, found: Difference) -> None:
        """Keep a difference, unless it is known."""
        self._found.append(found)

    def flush(self) -> None:
        """Write what was found."""
        for result, numbers in self._results.items():
            matching.write_result(self.connection, self.statement.id, numbers, result, self.now)
        self.counts["cases"] += keep_differences(self.connection, self._found, self.now)
        if self._results or self._moved:
            counted = {
                "results": _sum(self.statement.results, self._moved, but_not=_UNCOUNTED),
                "signs": _sum(self.statement.signs, self._signs),
            }
            update_statement(self.connection, self.statement.id, counted)


def _sum(counted: dict[str, int], moved: Counts, but_not: Container[str] = ()) -> dict[str, int]:
    total = Counter(counted)
    total.update(moved)
    return {name: number for name, number in total.items() if number and name not in but_not}


def keep_strange(bill: Bill, line: StatementLine, kind: Case, order_id: int | None) -> None:
    """It is this difference by its number, wherever it is listed; else by the line itself."""
    number = line.refund_no or line.provider_refund_no
    place = f"order {line.order_no}, line {line.number} of {bill.statement.file_name}"
    theirs = [line.refund_no, line.provider_refund_no, line.amount]
    marks = theirs if number else [bill.statement.id, line.number]
    found = Difference(
        account=bill.statement.account,
        merchant=bill.merchant,
        kind=kind,
        digest=digest_of("strange", *marks),
        subject=number or place,
        evidence=their_evidence(bill.statement, line),
        order_id=order_id,
        statement_id=bill.statement.id,
        line=line.number,
        run_id=bill.run_id,
    )
    bill.keep(found)


def keep_about(bill: Bill, line: StatementLine, kind: Case, ours: Ours) -> None:
    """A difference of a refund; what contradicts it already is the same one."""
    found = Difference(
        account=ours.account,
        merchant=bill.merchant,
        kind=kind,
        digest=digest_of(kind, ours.id, line.amount, line.succeeded),
        subject=ours.refund_no,
        evidence=their_evidence(bill.statement, line) | {"ours": _our_evidence(ours)},
        order_id=ours.order_id,
        refund_id=ours.id,
        statement_id=bill.statement.id,
        line=line.number,
        run_id=bill.run_id,
        owned_by=(Case.CONTRADICTED,) if kind is Case.STATE_DIFFERS else (),
    )
    bill.keep(found)


def their_evidence(statement: Statement, line: StatementLine) -> dict[str, Any]:
    """What a bill says of a refund."""
    theirs = {
        "refund_no": line.refund_no,
        "provider_refund_no": line.provider_refund_no,
        "order_no": line.order_no,
        "amount": line.amount,
        "day": line.day.isoformat() if line.day else "",
        "succeeded": line.succeeded,
    }
    return {
        "statement": statement.id,
        "file": storable(statement.file_name),
        "line": line.number,
        "theirs": {name: value for name, value in theirs.items() if value != ""},
    }


def _our_evidence(ours: Ours) -> dict[str, Any]:
    """What the ledger says of a refund."""
    return {"order_no": ours.order_no, "amount": ours.amount, "state": ours.state}


def digest_of(*marks: object) -> str:
    """SHA-256 of what makes a difference the one that it is."""
    return hashlib.sha256(json.dumps(marks, ensure_ascii=False).encode()).hexdigest()


def missing(line: Line, statement: Statement, one: Unlisted, run_id: int | None) -> Difference:
    """What succeeded by the ledger, and stands in no bill that should have it."""
    ours = {"amount": one.amount, "state": SUCCEEDED, "since": one.state_at.isoformat()}
    return Difference(
        account=statement.account,
        merchant=line.provider.merchant,
        kind=Case.MISSING,
        digest=digest_of(Case.MISSING, one.id, one.state_at.isoformat()),
        subject=one.refund_no,
        evidence={
            "statement": statement.id,
            "file": storable(statement.file_name),
            "ours": ours,
        },
        order_id=one.order_id,
        refund_id=one.id,
        run_id=run_id,
    )
