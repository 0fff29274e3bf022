"""Compares the ledger with the providers' book, refund by refund. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from refundry import State
from worker.cli.demonstration.batch import DemoRefund
from worker.ledger.reports import ExportRow

FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED, State.REVERSED})


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What ledger and book hold about a batch, each by refund number."""

    ledger: Mapping[str, ExportRow]
    #: The codes of refused jobs.
    refused: Mapping[str, str]
    book: Mapping[str, Mapping[str, Any]]

    def final(self, batch: Iterable[DemoRefund]) -> int:
        """How many of the batch have come to their end."""
        return sum(self._is_final(refund.refund_no) for refund in batch)

    def _is_final(self, refund_no: str) -> bool:
        row = self.ledger.get(refund_no)
        return refund_no in self.refused or (row is not None and row.state in FINAL)


def problems(batch: Iterable[DemoRefund], seen: Seen) -> list[str]:
    """A sentence for everything that is not as it must be; empty if all is well."""
    return [problem for refund in batch for problem in _of_refund(refund, seen)]


def _of_refund(refund: DemoRefund, seen: Seen) -> Iterator[str]:
    number = refund.refund_no
    row, entry = seen.ledger.get(number), seen.book.get(number)
    if refund.exceeds:
        if number not in seen.refused or row is not None or entry is not None:
            yield f"{number}: exceeds what was paid, and was not refused"
        return
    if number in seen.refused:
        yield f"{number}: was refused ({seen.refused[number]})"
    if row is None or entry is None:
        yield f"{number}: is missing in {'the ledger' if row is None else 'the book'}"
        return
    yield from _differences(number, row, entry)


def _differences(number: str, row: ExportRow, entry: Mapping[str, Any]) -> Iterator[str]:
    if row.state != entry["state"]:
        yield f"{number}: the ledger says {row.state}, the book {entry['state']}"
    if row.amount != entry["amount"]:
        yield f"{number}: the ledger has {row.amount} fen, the book {entry['amount']}"
    if entry["executions"] != (entry["state"] == State.SUCCEEDED):
        yield f"{number}: executed {entry['executions']} times"
