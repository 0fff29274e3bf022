"""What the audit holds the archive against: the digests of its lots, and where they end. Pure."""

from collections.abc import Iterator

from worker.archive import lot_digest
from worker.ledger.whole import Values, WholeRefund


def archived_whole(refund: WholeRefund) -> Iterator[tuple[str, str]]:
    """Every lot has what was archived, nothing stands beside the lots, and none is missing."""
    lots, before = refund.archived.get("archives", []), ""
    seq, attempt = 0, 0
    for lot in lots:
        events = _between(refund, "events", "seq", seq, lot["last_seq"])
        attempts = _between(refund, "attempts", "number", attempt, lot["last_attempt"])
        row = refund.row
        found = lot_digest(row["merchant"], row["refund_no"], before, events, attempts)
        if found != lot["digest"]:
            yield "I7", f"the archive has not its events {seq + 1} to {lot['last_seq']} as archived"
        before, seq, attempt = lot["digest"], lot["last_seq"], lot["last_attempt"]
    if refund.row["archived_seq"] != seq:
        yield "I7", f"is archived up to event {refund.row['archived_seq']}, its lots up to {seq}"
    beyond = _between(refund, "events", "seq", seq, None)
    beyond += _between(refund, "attempts", "number", attempt, None)
    if beyond:
        yield "I7", f"the archive has {len(beyond)} rows of it that belong to no lot"


def _between(
    refund: WholeRefund, name: str, key: str, after: int, up_to: int | None
) -> list[Values]:
    rows = refund.archived.get(f"archived_{name}", [])
    return [row for row in rows if row[key] > after and (up_to is None or row[key] <= up_to)]
