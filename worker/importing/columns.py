"""What the columns of a file mean: from cells to the fields of a refund request. Pure."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from worker.errors import Refused, WrongFile
from worker.importing.files import Cell, Wrong
from worker.importing.words import Terms, Unit

#: Amounts of money.
_MONEY: Final = ("amount", "order_amount", "paid_amount", "refunded_before", "expected_refunded")
_TEXTS: Final = ("account", "order_no", "refund_no", "currency", "paid_at", "reason", "operator")
COLUMNS: Final = (*_TEXTS, *_MONEY)
_NEEDED: Final = ("order_no", "refund_no", "amount", "order_amount")
_WRITTEN: Final = {
    Unit.FEN: re.compile(r"-?[0-9]{1,18}"),
    Unit.YUAN: re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,2})?"),
}
_SHAPE: Final = {
    Unit.FEN: "an amount in fen is a whole number such as 1999 (amounts in yuan: --yuan)",
    Unit.YUAN: "an amount in yuan is a number with at most two places, such as 19.99",
}


def header_of(cells: Sequence[Cell], terms: Terms) -> list[str]:
    """The names of a file's columns, in their order.

    Raises:
        WrongFile: one is missing, unknown or there twice.
    """
    names = [str(cell) if isinstance(cell, str) else "" for cell in cells]
    while names and not names[-1]:
        names.pop()
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        said = ", ".join(repr(name[:40]) for name in unknown[:5])
        raise WrongFile(f"columns that mean nothing here: {said}; known are {', '.join(COLUMNS)}")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise WrongFile(f"columns that are there twice: {', '.join(twice)}")
    needed = _NEEDED if terms.account else ("account", *_NEEDED)
    missing = [name for name in needed if name not in names]
    if missing:
        hint = " (or say --account)" if "account" in missing else ""
        raise WrongFile(f"columns that are missing: {', '.join(missing)}{hint}")
    return names


def job_of(names: Sequence[str], cells: Sequence[Cell], terms: Terms) -> dict[str, Any]:
    """The fields of a refund request, as a producer would state them; an empty cell states nothing.

    Raises:
        Refused: with a sentence for every cell that is wrong.
    """
    if any(cell is not None for cell in cells[len(names) :]):
        raise Refused("invalid", "the row has more cells than the file has columns")
    job: dict[str, Any] = {"account": terms.account} if terms.account else {}
    problems = []
    for name, cell in zip(names, cells, strict=False):
        if cell is None:
            continue
        try:
            job[name] = _fen(cell, terms.unit) if name in _MONEY else _text(cell)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise Refused("invalid", "; ".join(problems), problems)
    return job


def _fen(cell: Cell, unit: Unit) -> int:
    """An amount in integer fen, exactly as it is written."""
    written = _text(cell)
    if not _WRITTEN[unit].fullmatch(written):
        raise ValueError(f"{_SHAPE[unit]} (got {written!r:.60})")
    return int(written) if unit is Unit.FEN else int(Decimal(written).scaleb(2))


def _text(cell: Cell) -> str:
    if isinstance(cell, Wrong):
        raise ValueError(cell.said)
    return format(cell, "f") if isinstance(cell, Decimal) else str(cell)
