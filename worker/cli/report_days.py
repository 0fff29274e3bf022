"""The days of a report of reconciliation: a row a day, without gaps, to be compared."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any, Final

from worker.ledger.report_days import CasesOverDays, FoundOfDay
from worker.refund import Case

#: What reconciliation finds, in the order of the columns.
KINDS: Final = (
    Case.NOT_OURS,
    Case.UNRECORDED,
    Case.AMOUNT_DIFFERS,
    Case.STATE_DIFFERS,
    Case.MISMATCHED,
    Case.DOUBLED,
    Case.MISSING,
    Case.FIGURES_DIFFER,
    Case.BREACHED,
)
#: Cases that a report follows: of these, and of bills that were stopped.
FOLLOWED: Final = (*KINDS, Case.DOUBTFUL_BILL)

Row = dict[str, Any]


def day_rows(
    found: Iterable[FoundOfDay], cases: CasesOverDays, first: date, last: date
) -> list[Row]:
    """A row for each day, the first first: differences by kind, amounts in fen, and cases.

    ``open`` is how many cases were open when the day ended.
    """
    by_day: dict[date, list[FoundOfDay]] = {}
    for one in found:
        by_day.setdefault(one.day, []).append(one)
    rows, is_open = [], cases.open_before
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        opened, closed = cases.opened.get(day, 0), cases.closed.get(day, 0)
        is_open += opened - closed
        moved = {"opened": opened, "closed": closed, "open": is_open}
        rows.append({"day": day.isoformat()} | _counted(by_day.get(day, [])) | moved)
    return rows


def _counted(found: Sequence[FoundOfDay]) -> Row:
    kinds = {one.kind: one.found for one in found}
    return {
        "found": sum(one.found for one in found),
        **{kind.value: kinds.get(kind, 0) for kind in KINDS},
        "explained": sum(one.explained for one in found),
        "ours": sum(one.ours for one in found),
        "theirs": sum(one.theirs for one in found),
    }


def without_empty_kinds(rows: Sequence[Row]) -> list[Row]:
    """For people: kinds that no day has are left out."""
    empty = {kind.value for kind in KINDS if not any(row[kind.value] for row in rows)}
    return [{name: value for name, value in row.items() if name not in empty} for row in rows]
