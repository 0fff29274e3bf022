"""Reads CSV and XLSX files row by row, in bounded memory, and guesses nothing.

A file is copied before it is read, so that what was digested is what is imported. What is wrong
with it as a whole ends it before anything was asked; what is wrong with a cell is its row's affair.
"""

import csv
import hashlib
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

from openpyxl import load_workbook

from worker.errors import WrongFile

_COPIED: Final = 1 << 20
#: A line without end would fill the memory; no row of the columns that there are has 64 KiB.
_MAX_LINE: Final = 1 << 16
#: What a workbook may unpack to, in bytes: a million rows have about a tenth of it.
_MAX_UNPACKED: Final = 2 << 30
#: All texts of a workbook are in memory at once, unpacked; this is the most of them, in bytes.
_MAX_TEXTS: Final = 256 << 20
_TEXTS: Final = "xl/sharedStrings.xml"
_ZIP: Final = b"PK\x03\x04"
_BOM: Final = b"\xef\xbb\xbf"
#: A spreadsheet keeps so many digits of a number; what is beyond is noise of its binary form.
_DIGITS: Final = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrong:
    """A cell that is neither text nor a number nor a time, and why."""

    said: str


Cell = str | int | Decimal | Wrong | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A file as it was at one moment."""

    name: str
    file: IO[bytes]
    #: SHA-256 of its bytes.
    digest: str


@contextmanager
def copied(path: Path) -> Iterator[Copy]:
    """A copy that nobody else can see or change; it is gone after the block.

    Raises:
        WrongFile: it cannot be read.
    """
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as own:
        try:
            with path.open("rb") as source:
                while part := source.read(_COPIED):
                    digest.update(part)
                    own.write(part)
        except OSError as error:
            raise WrongFile(f"cannot read {path}: {error.strerror}") from None
        yield Copy(name=path.name, file=own, digest=digest.hexdigest())


def rows_of(copy: Copy) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Each row that is not blank, with its number in the file; the first is the header.

    Raises:
        WrongFile: it is neither CSV in UTF-8 nor XLSX, or it is damaged.
    """
    copy.file.seek(0)
    is_workbook = copy.file.read(len(_ZIP)) == _ZIP
    copy.file.seek(0)
    rows = _workbook_rows(copy.file) if is_workbook else _csv_rows(copy.file)
    return (row for row in rows if any(cell is not None for cell in row[1]))


def _csv_rows(file: IO[bytes]) -> Iterator[tuple[int, Sequence[Cell]]]:
    reader = csv.reader(_lines(file), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise WrongFile(f"line {number} is no CSV: {error}") from None
        if cells is None:
            return
        yield number, [cell.strip() or None for cell in cells]


def _lines(file: IO[bytes]) -> Iterator[str]:
    number = 0
    while line := file.readline(_MAX_LINE):
        number += 1
        if len(line) == _MAX_LINE:
            raise WrongFile(f"line {number} has {_MAX_LINE} bytes and more; no refund has")
        try:
            yield line.removeprefix(_BOM if number == 1 else b"").decode()
        except UnicodeDecodeError:
            said = "is not UTF-8; save the file as “CSV UTF-8”, or as XLSX"
            raise WrongFile(f"line {number} {said}") from None


def _workbook_rows(file: IO[bytes]) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Whatever the library trips over is the file's fault, and said in one way."""
    try:
        _check_size(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which nobody looks at
            book = load_workbook(file, read_only=True, keep_links=False)
        first, *others = book.worksheets
        _refuse_others(others)
        yield from _sheet_rows(first)
    except WrongFile:
        raise
    except Exception as error:
        raise WrongFile(f"it cannot be read as XLSX: {type(error).__name__}") from None


def _check_size(file: IO[bytes]) -> None:
    """A packed file says how much it unpacks to, and unpacks to no more."""
    with zipfile.ZipFile(file) as packed:
        sizes = {one.filename: one.file_size for one in packed.infolist()}
    if sum(sizes.values()) > _MAX_UNPACKED or sizes.get(_TEXTS, 0) > _MAX_TEXTS:
        raise WrongFile("it unpacks to more than is read; split it, or save it as CSV")


def _refuse_others(sheets: Sequence[Any]) -> None:
    """What stands on a further sheet would be overlooked silently."""
    for sheet in sheets:
        if next(_sheet_rows(sheet), None) is not None:
            raise WrongFile(f"sheet {sheet.title!r} is not empty; keep one sheet in the file")


def _sheet_rows(sheet: Any) -> Iterator[tuple[int, Sequence[Cell]]]:
    sheet.reset_dimensions()  # what the file says of them may be wrong
    for number, row in enumerate(sheet.iter_rows(), start=1):
        cells = [_cell(one) for one in row]
        if any(cell is not None for cell in cells):
            yield number, cells


def _cell(cell: Any) -> Cell:
    value = cell.value
    if value is None:
        return None
    if cell.data_type == "f":
        return Wrong(said="holds a formula; paste its value")
    if cell.data_type == "e":
        return Wrong(said=f"holds the error {str(value)[:20]}")
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Wrong(said=f"holds a {type(value).__name__}; write a text or a number")
    return _number(value)


def _number(value: int | float) -> Cell:
    """The decimal number that the spreadsheet shows, not the binary one that it calculates with."""
    shown = Decimal(f"{value:.{_DIGITS}g}")
    if not shown.is_finite() or abs(shown) >= 10**_DIGITS:
        said = (
            f"is a number of more than {_DIGITS} digits, which spreadsheets round; make it a text"
        )
        return Wrong(said=said)
    return int(shown) if shown == shown.to_integral_value() else shown
