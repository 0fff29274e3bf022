"""What the commands print, and the exit codes they end with."""

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from rich.console import Console
from rich.table import Table

from config.visible import json_line, visible

EXIT_DONE: Final = 0
#: Refused or breached.
EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
#: A needed service is away.
EXIT_AWAY: Final = 3

#: Width of a table that goes to a file or a pipe, in characters.
_FILE_WIDTH: Final = 200

#: For people; plain text when standard output is not a terminal. What is shown comes from producers
#: and providers: a word in brackets or between colons is theirs, and no markup.
console = Console(
    highlight=False,
    markup=False,
    emoji=False,
    width=None if sys.stdout.isatty() else _FILE_WIDTH,
)


def print_line(text: str) -> None:
    """One line on standard output, flushed, exactly as it stands."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_json(value: object) -> None:
    """One JSON value on a line of its own; what JSON does not know is printed as text."""
    print_line(json_line(value, default=str))


def print_done(as_json: bool, line: str, value: dict[str, object]) -> None:
    """What a command has done: a line for people, or JSON."""
    if as_json:
        print_json(value)
    else:
        print_line(line)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people."""
    table = Table(*columns, title=visible(title), title_justify="left")
    for row in rows:
        table.add_row(*("" if cell is None else visible(str(cell)) for cell in row))
    console.print(table)


def print_rows(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """A table of rows that have the same names; nothing where there are none."""
    if rows:
        print_table(title, list(rows[0]), [list(row.values()) for row in rows])


def print_records(title: str, kind: type[Any], records: Iterable[Any], as_json: bool) -> None:
    """Records of one dataclass: a table for people, or JSON."""
    rows = [dataclasses.asdict(one) for one in records]
    if as_json:
        print_json(rows)
        return
    columns = [field.name for field in dataclasses.fields(kind)]
    print_table(title, columns, [list(row.values()) for row in rows])


def write_file(path: Path, text: str) -> None:
    """Write what was asked for into a file, or say why not."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}", EXIT_USAGE)


def fail(message: str, code: int) -> NoReturn:
    """One line on standard error, then the end of the process with ``code``."""
    sys.stderr.write(f"refundry: {visible(' '.join(message.split()))}\n")
    raise SystemExit(code)


def yuan(fen: int) -> str:
    """Fen as yuan with two places."""
    return f"{fen // 100}.{fen % 100:02d}"
