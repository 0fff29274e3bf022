"""What differs is written down with its case; each difference once."""

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from worker.ledger import matching
from worker.ledger.differences import Difference, keep_differences
from worker.ledger.journal import storable
from worker.ledger.statements import Statement, Unlisted
from worker.refund import SUCCEEDED, Case
from worker.runtime import Line
from worker.statements.judging import Ours, Result
from worker.statements.reading import StatementLine

Counts = Counter[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """A chunk of a bill that is compared, in a transaction that has the bill locked.

    What is found is written at the end, a statement for each result and each kind of row.
    """

    connection: Connection
    line: Line
    statement: Statement
    now: datetime
    #: How many lines got which result.
    counts: Counts = field(default_factory=Counter)
    _results: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _found: list[Difference] = field(default_factory=list)

    @property
    def merchant(self) -> str:
        return self.line.provider.merchant

    def link(self, one: StatementLine, refund_id: int) -> None:
        """The refund that a line is of."""
        matching.link_line(self.connection, self.statement.id, one.number, refund_id, self.now)

    def write(self, one: StatementLine, result: str) -> None:
        """A line's result; what is only on its way to one is not counted."""
        if result is not Result.UNNUMBERED:
            self.counts[result] += 1
        self._results[result].append(one.number)

    def differs(self, found: Difference) -> None:
        """Keep a difference, unless it is known."""
        self._found.append(found)

    def flush(self) -> None:
        """Write what was found."""
        for result, numbers in self._results.items():
            matching.write_result(self.connection, self.statement.id, numbers, result, self.now)
        self.counts["cases"] += keep_differences(self.connection, self._found, self.now)


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
        evidence=_their_evidence(bill, line),
        order_id=order_id,
        statement_id=bill.statement.id,
        line=line.number,
    )
    bill.differs(found)


def keep_about(bill: Bill, line: StatementLine, kind: Case, ours: Ours) -> None:
    """A difference of a refund; what contradicts it already is the same one."""
    found = Difference(
        account=ours.account,
        merchant=bill.merchant,
        kind=kind,
        digest=digest_of(kind, ours.id, line.amount, line.succeeded),
        subject=ours.refund_no,
        evidence=_their_evidence(bill, line) | {"ours": _our_evidence(ours)},
        order_id=ours.order_id,
        refund_id=ours.id,
        statement_id=bill.statement.id,
        line=line.number,
        owned_by=(Case.CONTRADICTED,) if kind is Case.STATE_DIFFERS else (),
    )
    bill.differs(found)


def _their_evidence(bill: Bill, line: StatementLine) -> dict[str, Any]:
    theirs = {
        "refund_no": line.refund_no,
        "provider_refund_no": line.provider_refund_no,
        "order_no": line.order_no,
        "amount": line.amount,
        "day": line.day.isoformat() if line.day else "",
        "succeeded": line.succeeded,
    }
    return {
        "statement": bill.statement.id,
        "file": storable(bill.statement.file_name),
        "line": line.number,
        "theirs": {name: value for name, value in theirs.items() if value != ""},
    }


def _our_evidence(ours: Ours) -> dict[str, Any]:
    """What the ledger says of a refund."""
    return {"order_no": ours.order_no, "amount": ours.amount, "state": ours.state}


def digest_of(*marks: object) -> str:
    """SHA-256 of what makes a difference the one that it is."""
    return hashlib.sha256(json.dumps(marks, ensure_ascii=False).encode()).hexdigest()


def missing(line: Line, statement: Statement, one: Unlisted) -> Difference:
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
    )
