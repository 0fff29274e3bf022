"""How the commands tell of one refund or one case: as tables, in the reader's language."""

import os
from collections.abc import Iterable
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
    """A table a part; nothing where there is none of it. What was exchanged is to be copied."""
    for part in parts:
        if any(cell.look == "said" for row in part.rows for cell in row):
            console.print("\n".join(_lines(part)), soft_wrap=True)
        elif part.rows:
            console.print(_table(part))


def _lines(part: Part) -> Iterable[str]:
    yield visible(part.title)
    for row in part.rows:
        yield ""
        yield "  ".join(visible(cell.text) for cell in row if cell.look != "said")
        for head, cell in zip(part.heads, row, strict=True):
            if cell.look == "said" and cell.text:
                yield f"{visible(head)}: {visible_lines(cell.text)}"


def _table(part: Part) -> Table:
    table = Table(title=visible(part.title), title_justify="left", show_header=bool(part.heads))
    for head in part.heads or ("", ""):
        table.add_column(visible(head), overflow="fold")
    for row in part.rows:
        table.add_row(*map(_text, row))
    return table


def _text(cell: Cell) -> str:
    return visible(cell.text) + (f" ({visible(cell.code)})" if cell.code else "")
