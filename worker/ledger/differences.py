"""Queries on what differs: each difference is kept once, and has a case."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, text, update

from worker.case_rules import Deed
from worker.ledger import journal
from worker.ledger.statement_tables import differences, statement_lines
from worker.ledger.tables import cases, orders, refunds
from worker.ledger.types import insert_into, is_one_of
from worker.refund import Case


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What differs, and where it was seen."""

    account: str
    merchant: str
    kind: Case
    #: SHA-256 of what makes it the difference that it is: it is found once for all.
    digest: str
    #: For people: a number of the refund, the order, or a line of a bill.
    subject: str
    evidence: dict[str, Any]
    order_id: int | None = None
    refund_id: int | None = None
    statement_id: int | None = None
    line: int | None = None
    run_id: int | None = None

    #: Kinds of cases of the refund that it is noted in, where one is open, beside its own.
    owned_by: tuple[Case, ...] = ()

    @property
    def about(self) -> "About":
        """Which case it belongs to: that of its refund; of no refund, that of its subject."""
        about = self.refund_id if self.refund_id is not None else self.stored_subject
        return self.account, self.kind, about

    @property
    def stored_subject(self) -> str:
        """As a case has it."""
        return journal.storable(self.subject)[: journal.MAX_SUBJECT]

    @property
    def evidenced(self) -> dict[str, Any]:
        """Its own row, but for the case."""
        names = ("account", "merchant", "kind", "digest", "refund_id", "statement_id", "line")
        return {name: getattr(self, name) for name in (*names, "run_id")}


#: A case's account, its kind, and its refund or its subject.
About = tuple[str, str, int | str]


def keep_differences(connection: Connection, found: Sequence[Difference], now: datetime) -> int:
    """Keep differences of one merchant, and open their cases; how many are new.

    Where a case of the same kind and subject is open, or one of the kinds ``owned_by`` of its
    refund, a difference is noted there. So many statements for one as for hundreds.
    """
    new = sorted(_unknown(connection, found), key=lambda one: (one.subject, one.kind, one.digest))
    if not new:
        return 0
    open_cases = _open_cases(connection, new)
    of_cases = {one.digest: _case_of(open_cases, one) for one in new}
    for one in new:
        if case_id := of_cases[one.digest]:
            _note(connection, one, case_id, now)
    missing = [one for one in new if of_cases[one.digest] is None]
    if missing:
        _open_cases_of(connection, missing, now)
        open_cases = _open_cases(connection, missing)
        of_cases |= {one.digest: _case_of(open_cases, one) for one in missing}
    rows = [one.evidenced | {"case_id": of_cases[one.digest], "found_at": now} for one in new]
    adding = insert_into(connection, differences).on_conflict_do_nothing(
        index_elements=["merchant", "digest"]
    )
    return len(connection.execute(adding.returning(differences.c.id), rows).all())


_KNOWN: Final = select(differences.c.digest).where(
    differences.c.merchant == bindparam("of_merchant"),
    is_one_of(differences.c.digest, "digests"),
)


def _unknown(connection: Connection, found: Sequence[Difference]) -> list[Difference]:
    """Those that are not kept, each once."""
    if not found:
        return []
    by_digest: dict[str, Difference] = {}
    for one in found:
        by_digest.setdefault(one.digest, one)
    given = {"of_merchant": found[0].merchant, "digests": list(by_digest)}
    known = set(connection.execute(_KNOWN, given).scalars())
    return [one for digest, one in by_digest.items() if digest not in known]


_CASES: Final = (
    select(cases.c.id, cases.c.account, cases.c.kind, cases.c.refund_id, cases.c.subject)
    .where(text("cases.closed_at IS NULL"))
    .order_by(cases.c.id)
)
_OF_REFUNDS: Final = _CASES.where(is_one_of(cases.c.refund_id, "ids"))
_OF_SUBJECTS: Final = _CASES.where(
    is_one_of(cases.c.account, "accounts"),
    is_one_of(cases.c.kind, "kinds"),
    is_one_of(cases.c.subject, "subjects"),
)


def _open_cases(connection: Connection, found: Sequence[Difference]) -> dict[About, int]:
    """The open cases that the differences may belong to, the oldest of each."""
    cases_of: dict[About, int] = {}
    ids = sorted({one.refund_id for one in found if one.refund_id is not None})
    if ids:
        for row in connection.execute(_OF_REFUNDS, {"ids": ids}):
            cases_of.setdefault((row.account, row.kind, row.refund_id), row.id)
    given = {
        "accounts": sorted({one.account for one in found}),
        "kinds": sorted({one.kind for one in found}),
        "subjects": sorted({one.stored_subject for one in found}),
    }
    for row in connection.execute(_OF_SUBJECTS, given):
        cases_of.setdefault((row.account, row.kind, row.subject), row.id)
    return cases_of


def _case_of(open_cases: Mapping[About, int], found: Difference) -> int | None:
    """The open case that a difference belongs to."""
    account, kind, about = found.about
    places: list[About] = [(account, one, about) for one in (kind, *found.owned_by)]
    places.append((account, kind, found.stored_subject))
    return next((open_cases[place] for place in places if place in open_cases), None)


def _open_cases_of(connection: Connection, found: Sequence[Difference], now: datetime) -> None:
    """Open a case for each thing that differs; what differs in a second way is noted there."""
    first: dict[About, Difference] = {}
    later: list[Difference] = []
    for one in found:
        if first.setdefault(one.about, one) is not one:
            later.append(one)
    rows = [
        journal.case_row(
            one.account,
            one.kind,
            one.subject,
            one.evidence,
            now,
            order_id=one.order_id,
            refund_id=one.refund_id,
        )
        for one in first.values()
    ]
    opening = insert_into(connection, cases).on_conflict_do_nothing().returning(cases.c.id)
    for case_id in connection.execute(opening, rows).scalars().all():
        journal.add_entry(connection, case_id, Deed.OPENED, journal.OURSELVES, now)
    if later:
        opened = _open_cases(connection, later)
        for one in later:
            case_id = _case_of(opened, one)
            assert case_id is not None
            _note(connection, one, case_id, now)


def _note(connection: Connection, found: Difference, case_id: int, now: datetime) -> None:
    said = f"{found.kind}: {found.subject}"
    journal.add_entry(connection, case_id, Deed.NOTED, journal.OURSELVES, now, said, found.evidence)


_UNEXPLAINED: Final = (
    select(differences.c.id, differences.c.case_id)
    .where(
        differences.c.refund_id.is_not(None),
        is_one_of(differences.c.refund_id, "ids"),
        differences.c.explained_at.is_(None),
        is_one_of(differences.c.kind, "kinds"),
        differences.c.statement_id.is_distinct_from(bindparam("of_statement")),
    )
    .order_by(differences.c.id)
    .with_for_update()
)


def explain_differences(
    connection: Connection,
    refund_ids: Collection[int],
    kinds: Collection[Case],
    statement_id: int,
    said: str,
    now: datetime,
) -> int:
    """Note in the cases of what differed that a later bill explains it; returns how many."""
    given = {"ids": sorted(refund_ids), "of_statement": statement_id, "kinds": sorted(kinds)}
    found = connection.execute(_UNEXPLAINED, given).all()
    for row in found:
        journal.add_entry(connection, row.case_id, Deed.NOTED, journal.OURSELVES, now, said)
    if found:
        explained = update(differences).where(is_one_of(differences.c.id, "ids"))
        connection.execute(explained.values(explained_at=now), {"ids": [row.id for row in found]})
    return len(found)


def difference_rows(
    connection: Connection,
    account: str | None,
    limit: int,
    *,
    statement_id: int | None = None,
    run_id: int | None = None,
    since: datetime | None = None,
) -> list[dict[str, Any]]:
    """What differs, the latest first, with the line, the refund and the case."""
    query = (
        select(
            differences.c.id,
            differences.c.account,
            differences.c.kind,
            refunds.c.refund_no,
            orders.c.order_no,
            refunds.c.amount,
            refunds.c.state,
            differences.c.statement_id,
            differences.c.line,
            differences.c.run_id,
            statement_lines.c.refund_no.label("their_refund_no"),
            statement_lines.c.order_no.label("their_order_no"),
            statement_lines.c.amount.label("their_amount"),
            statement_lines.c.succeeded.label("they_paid"),
            differences.c.case_id,
            differences.c.found_at,
            differences.c.explained_at,
            cases.c.closed_at,
        )
        .join(cases, cases.c.id == differences.c.case_id)
        .outerjoin(refunds, refunds.c.id == differences.c.refund_id)
        .outerjoin(orders, orders.c.id == refunds.c.order_id)
        .outerjoin(
            statement_lines,
            (statement_lines.c.statement_id == differences.c.statement_id)
            & (statement_lines.c.number == differences.c.line),
        )
        .order_by(differences.c.id.desc())
        .limit(limit)
    )
    if account is not None:
        query = query.where(differences.c.account == account)
    if statement_id is not None:
        query = query.where(differences.c.statement_id == statement_id)
    if run_id is not None:
        query = query.where(differences.c.run_id == run_id)
    if since is not None:
        query = query.where(differences.c.found_at >= since)
    return [dict(row._mapping) for row in connection.execute(query)]
