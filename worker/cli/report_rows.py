"""The rows of a report of reconciliation."""

import csv
import sys
from collections.abc import Iterable
from typing import Any

from config.visible import unformulated
from refundry.fields import SHANGHAI
from worker.refund import Case


def run_row(row: dict[str, Any]) -> dict[str, Any]:
    """A run as a row: its time, how far it is, and what it counted."""
    counts: dict[str, int] = row["counts"]
    differ = sum(number for name, number in counts.items() if name in set(Case))
    return {
        "run": row["id"],
        "account": row["account"],
        "day": row["since"].astimezone(SHANGHAI).date().isoformat(),
        "by": row["begun_by"],
        "began_at": row["began_at"],
        "phase": row["phase"],
        "refunds": counts.get("refunds", 0),
        "asked": counts.get("asked", 0),
        "figures": counts.get("figures", 0),
        "agreed": counts.get("agreed", 0),
        "differ": differ,
        "stopped": counts.get("stopped", 0),
        "explained": counts.get("explained", 0),
        "audited": counts.get("audited", 0),
        "cases": counts.get("cases", 0),
    }


def print_csv(rows: Iterable[dict[str, Any]]) -> None:
    """Rows that have the same names as CSV on standard output, with a heading."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row)
        writer.writerow([unformulated(value) for value in row.values()])
