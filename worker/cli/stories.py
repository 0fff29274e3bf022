"""How the commands tell of one refund or one case: as tables, in the reader's language."""

import os
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich.table import Table

from config.visible import visible, visible_lines
from worker.cli.output import console
from worker.timeline.story import Cell, Part
from worker.timeline.words import Language, Words, language_of

InLanguage = Annotated[
    Language | None, typer.Option(help="In which language; default: the environment's LANG.")
]


def words_in(language: Language | None) -> Words:
    """The words of that language, or of the environment's."""
    return Words(language or language_of(os.environ))


def print_story(parts: Iterable[Part]) -> None:
    """A table a part; nothing where there is none of it."""
    for part in parts:
        if part.rows:
            console.print(_table(part))


def _table(part: Part) -> Table:
    table = Table(*(part.heads or ("", "")), title=visible(part.title), title_justify="left")
    table.show_header = bool(part.heads)
    for row in part.rows:
        table.add_row(*_texts(row))
    return table


def _texts(row: Sequence[Cell]) -> Iterable[str]:
    for cell in row:
        code = f" ({visible(cell.code)})" if cell.code else ""
        yield (visible_lines if cell.look == "said" else visible)(cell.text) + code
