"""The page itself: HTML that needs nothing else, every value escaped. Pure."""

import html
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from config.visible import visible, visible_lines
from worker.timeline import words
from worker.timeline.story import Cell, Part, Row, story_of_refund
from worker.timeline.words import Words, moment

#: The page asks for nothing, whatever stands in it.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = """
:root { color-scheme: light }
body { font: 14px/1.5 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff }
h1 { font-size: 1.4rem; overflow-wrap: anywhere }
h2 { font-size: 1.05rem; margin-top: 2rem; border-bottom: 1px solid #bbb }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0;
  border-bottom: 1px solid #e4e4e4; overflow-wrap: anywhere }
th { font-weight: 600; color: #555; white-space: nowrap }
th[scope=row] { width: 14rem }
td.at, td.money { white-space: nowrap; font-variant-numeric: tabular-nums }
code, .detail, .said { font: 12px/1.4 ui-monospace, monospace; color: #555 }
code { white-space: nowrap }
td.detail, td.said { width: 34% }
td.at + td { min-width: 7rem }
td.said { white-space: pre-wrap }
footer { margin-top: 2rem; color: #777; font-size: 12px }
@media print { body { margin: 0; max-width: none } h2 { break-after: avoid }
  tr { break-inside: avoid } thead { display: table-header-group } @page { margin: 15mm } }
"""


def page(shown: Row, own: Words, at: datetime) -> str:
    """A refund's page.

    Args:
        shown: what ``refundry status`` shows.
        own: the language's words.
        at: when it is made.
    """
    first, *others = story_of_refund(shown, own)
    title, none = _text(first.title), _text(own.of(words.LABELS, "none"))
    parts = [
        f"<h1>{title}</h1>",
        _facts(first),
        *(f"<h2>{_text(part.title)}</h2>\n{_table(part, none)}" for part in others),
        f"<footer>Refundry · {_text(own.of(words.LABELS, 'made'))} {moment(at)}</footer>",
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="{own.tag}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _text(value: str) -> str:
    return html.escape(visible(value))


def _table(part: Part, none: str) -> str:
    if not part.heads:
        return _facts(part)
    if not part.rows:
        return f"<p>{none}</p>"
    heads = "".join(f'<th scope="col">{_text(head)}</th>' for head in part.heads)
    lines = "".join(_line(row) for row in part.rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _facts(part: Part) -> str:
    rows = (
        f'<tr><th scope="row">{_text(name.text)}</th>{_cell(value)}</tr>'
        for name, value in part.rows
    )
    return f"<table>{''.join(rows)}</table>"


def _line(row: Sequence[Cell]) -> str:
    return f"<tr>{''.join(map(_cell, row))}</tr>"


def _cell(cell: Cell) -> str:
    text = html.escape(visible_lines(cell.text)) if cell.look == "said" else _text(cell.text)
    code = f" <code>{_text(cell.code)}</code>" if cell.code else ""
    look = f' class="{cell.look}"' if cell.look else ""
    return f"<td{look}>{text}{code}</td>"
