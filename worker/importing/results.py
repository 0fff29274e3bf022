"""Writes what became of a file's rows, as CSV that no spreadsheet takes for commands."""

import csv
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from config.visible import unformulated

COLUMNS: Final = ("row", "refund_no", "verdict", "state", "code", "said")


def write_results(path: Path, rows: Iterable[tuple[object, ...]]) -> None:
    """A line a row, under the names of :data:`COLUMNS`; the file is there whole or not at all.

    With the mark by which spreadsheets know UTF-8.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([unformulated(cell) for cell in row] for row in rows)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
