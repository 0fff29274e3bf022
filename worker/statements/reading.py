"""Reads a bill line by line, in bounded memory; what cannot be read is named with its line."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final

from config.statements import StatementLayout
from worker.statements.money import fen_of

#: A heading that has not come by then is not the mapping's.
HEADING_WITHIN: Final = 100
#: Longest line in bytes; an unclosed quote must not swallow the file.
MAX_LINE: Final = 65_536
#: Longest number of a refund or an order.
MAX_NUMBER: Final = 128
#: Times that are not read again: the lines of a bill lie close to each other, or have days alone.
DAYS_KEPT: Final = 4096
_CODECS: Final = {"utf-8": "utf-8", "gbk": "gb18030"}
_MARK: Final = b"\xef\xbb\xbf"


class UnreadableStatement(ValueError):
    """Raised when a bill cannot be read; the message names the line, what is wrong, what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatementLine:
    """One refund of a bill; an empty number is one that the bill does not have."""

    #: Of the line in the file, from 1.
    number: int
    refund_no: str
    provider_refund_no: str
    order_no: str
    #: Fen, above zero.
    amount: int
    #: By Shanghai's calendar; None where the bill has no day.
    day: date | None
    #: Paid; else it was declined.
    succeeded: bool


class StatementReader:
    """The refunds of one bill, and how many other lines it has."""

    def __init__(self, layout: StatementLayout) -> None:
        self._layout = layout
        named = layout.columns.named
        #: Where each field's cell is; empty until the heading has come.
        self._places = {name: at - 1 for name, at in named.items() if isinstance(at, int)}
        #: Lines that are no refunds: payments, totals, what is not decided yet.
        self.skipped = 0

    def read(self, lines: Iterable[bytes]) -> Iterator[StatementLine]:
        """The refunds of a bill, from its lines as bytes.

        Raises:
            UnreadableStatement: at the first line that cannot be read.
        """
        number = 0
        for number, cells in self._rows(lines):
            if not self._places:
                self._look_for_heading(number, cells)
            elif (line := self._line(number, cells)) is None:
                self.skipped += 1
            else:
                yield line
        if not self._places:
            raise _unreadable(number, self._no_heading())

    def _rows(self, lines: Iterable[bytes]) -> Iterator[tuple[int, list[str]]]:
        """What is neither empty nor has totals, with the numbers of the lines."""
        rows = csv.reader(self._decoded(lines), delimiter=self._layout.separator, strict=True)
        skip_until = self._layout.skip_lines
        for cells in _parsed(rows):
            number = rows.line_num
            if number <= skip_until or not any(cells):
                continue
            if cells[0].startswith(self._layout.skip_beginnings):
                skip_until = number + self._layout.totals_lines - 1
                self.skipped += 1
                continue
            yield number, cells

    def _decoded(self, lines: Iterable[bytes]) -> Iterator[str]:
        codec = _CODECS[self._layout.encoding]
        for number, line in enumerate(lines, start=1):
            if len(line) > MAX_LINE:
                raise _unreadable(number, f"has more than {MAX_LINE} bytes; is it a CSV file?")
            start = len(_MARK) if number == 1 and line.startswith(_MARK) else 0
            try:
                text = line[start:].decode(codec)
            except UnicodeDecodeError:
                said = f"is not in {self._layout.encoding}; correct encoding in the layout"
                raise _unreadable(number, said) from None
            if "\0" in text:
                raise _unreadable(number, "has a zero byte; is it a CSV file?")
            yield text

    def _look_for_heading(self, number: int, cells: Sequence[str]) -> None:
        named = self._layout.columns.named
        titles = {name: str(title) for name, title in named.items()}
        if not set(titles.values()) <= set(cells):
            if number >= HEADING_WITHIN:
                raise _unreadable(number, self._no_heading())
            return
        for title in titles.values():
            if cells.count(title) > 1:
                raise _unreadable(number, f"has two columns {title!r}; map columns by number")
        self._places = {name: cells.index(title) for name, title in titles.items()}

    def _no_heading(self) -> str:
        wanted = ", ".join(repr(title) for title in self._layout.columns.named.values())
        return f"is reached and no line has the columns {wanted}; correct columns in the layout"

    def _line(self, number: int, cells: Sequence[str]) -> StatementLine | None:
        """A refund; None for a line that is none."""
        wanted = max(self._places.values()) + 1
        if len(cells) < wanted:
            advice = "if it has totals, list its beginning in skip_beginnings"
            raise _unreadable(number, f"has {len(cells)} cells, not {wanted}; {advice}")
        found = {name: cells[place] for name, place in self._places.items()}
        if self._layout.kinds and found["kind"] not in self._layout.kinds:
            return None
        succeeded, amount = self._succeeded(number, found), self._amount(number, found)
        if succeeded is None or not amount:
            return None
        return self._refund(number, found, amount, succeeded)

    def _refund(
        self, number: int, found: dict[str, str], amount: int, succeeded: bool
    ) -> StatementLine:
        names = ("refund_no", "provider_refund_no", "order_no")
        numbers = {name: found.get(name, "") for name in names}
        if not any(numbers.values()):
            raise _unreadable(number, "has neither a refund's number nor an order's")
        for name, value in numbers.items():
            if len(value) > MAX_NUMBER:
                raise _unreadable(number, f"has a {name} of more than {MAX_NUMBER} characters")
        day = self._day(number, found)
        return StatementLine(number=number, amount=amount, day=day, succeeded=succeeded, **numbers)

    def _succeeded(self, number: int, found: dict[str, str]) -> bool | None:
        """Paid or declined; None where it says neither."""
        layout = self._layout
        if layout.columns.state is None:
            return True
        state = found["state"]
        if state in layout.ignored:
            return None
        if state not in layout.succeeded and state not in layout.failed:
            advice = "list it in succeeded, failed or ignored of the layout"
            raise _unreadable(number, f"has the state {state!r}; {advice}")
        return state in layout.succeeded

    def _amount(self, number: int, found: dict[str, str]) -> int:
        """Above zero; 0 where the line is no refund."""
        try:
            amount = fen_of(found["amount"], self._layout.unit)
        except ValueError as error:
            raise _unreadable(number, f"has no amount: {error}") from None
        return max(0, -amount) if self._layout.refunds == "negative" else abs(amount)

    def _day(self, number: int, found: dict[str, str]) -> date | None:
        if "at" not in found:
            return None
        day = _day_of(found["at"], self._layout.time_formats)
        if day is None:
            said = f"has the time {found['at']!r}; add its form to time_formats"
            raise _unreadable(number, said)
        return day


@lru_cache(maxsize=DAYS_KEPT)
def _day_of(text: str, time_formats: tuple[str, ...]) -> date | None:
    """The day of a time; None where it has none of the forms."""
    for time_format in time_formats:
        try:
            return datetime.strptime(text, time_format).date()  # noqa: DTZ007
        except ValueError:
            continue
    return None


def _parsed(rows: Any) -> Iterator[list[str]]:
    try:
        for cells in rows:
            yield [cell.strip().removeprefix("`").strip() for cell in cells]
    except csv.Error as error:
        said = f"is no CSV ({error}); correct delimiter in the layout, or the file"
        raise _unreadable(rows.line_num, said) from None


def _unreadable(number: int, said: str) -> UnreadableStatement:
    return UnreadableStatement(f"line {number} {said}")
