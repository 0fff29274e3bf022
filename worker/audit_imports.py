"""What the audit holds imports against: their rows, and the rows' refunds. Pure."""

from collections.abc import Iterator

from worker.audit import Finding
from worker.importing.words import ImportState
from worker.ledger.import_audit import Tally, WrongRow


def audit_import(tally: Tally) -> list[Finding]:
    """Everything that is wrong with one import."""
    found = [*_sums(tally), *((promise, said) for promise, said in map(_of_row, tally.wrong))]
    name = f"import {tally.one.id}"
    return [Finding(promise=promise, row=name, said=said) for promise, said in found]


def _sums(tally: Tally) -> Iterator[tuple[str, str]]:
    one = tally.one
    if one.spent != tally.accepted_amount:
        yield "I7", f"spent is {one.spent} but its accepted rows make {tally.accepted_amount}"
    if one.row_count and one.row_count != tally.rows:
        yield "I5", f"has {tally.rows} rows and counts {one.row_count}"
    if tally.refunds < tally.accepted:
        yield "I5", f"its {tally.accepted} accepted rows are {tally.refunds} refunds"
    if tally.waiting and one.state in (ImportState.DONE, ImportState.CANCELED):
        yield "I9", f"is {one.state} and {tally.waiting} of its rows wait"


def _of_row(row: WrongRow) -> tuple[str, str]:
    if row.of_refund is None:
        return "I5", f"row {row.row_no} was accepted and has no refund {row.refund_no}"
    number, amount = row.of_refund
    asked = f"{row.amount} fen as {row.refund_no}"
    return "I10", f"row {row.row_no} asks for {asked}, and its refund is {amount} fen as {number}"
