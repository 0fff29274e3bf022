"""A report of reconciliation as one HTML page that needs nothing else, with a plot of the days."""

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from config.visible import visible
from worker.cli.report_days import KINDS

#: A colour for each kind, dark to light, as far apart as nine can be.
_SHADES: Final = "332288882255cc667711773344aa99999933ddcc7788cceeaa4499"
_COLOURS: Final = {kind: f"#{_SHADES[6 * n : 6 * n + 6]}" for n, kind in enumerate(KINDS)}
_STYLE: Final = (
    "body{font:14px sans-serif;margin:2em;color:#222}table{border-collapse:collapse;margin:1em 0}"
    "td,th{border:1px solid #ccc;padding:.2em .5em;text-align:left}th{background:#f2f2f2}"
    "td:first-child{white-space:nowrap}"
    ".open{fill:none;stroke:#222;stroke-width:2}.key{display:inline-block;width:1em;height:1em}"
)
#: Of a day's bar and of the plot, in pixels.
_BAR, _HEIGHT, _FOOT = 26, 160, 20

Rows = Sequence[dict[str, Any]]


def page(days: Rows, runs: Rows, differences: Rows) -> str:
    """The page: differences by day and kind with the cases left open, the runs, what differs."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Reconciliation</title>'
        f"<style>{_STYLE}</style><h1>Reconciliation</h1>"
        f"<h2>Differences by day found</h2>{_plot(days)}"
        f"<h2>Days (amounts in fen)</h2>{_table(days)}"
        f"<h2>Runs</h2>{_table(runs)}"
        f"<h2>Differences (amounts in fen)</h2>{_table(differences)}</html>\n"
    )


def _plot(days: Rows) -> str:
    most = max((max(day["found"], day["open"]) for day in days), default=0)
    if not most:
        return "<p>None.</p>"
    bars = "".join(_bar(place, day, most) for place, day in enumerate(days))
    width, high = _BAR * len(days), _HEIGHT + _FOOT
    return (
        f'<svg role="img" width="{width}" height="{high}" viewBox="0 0 {width} {high}">'
        f"{bars}{_open_line(days, most)}</svg><p>At most {most}. {_key(days)} "
        "Line: cases open at the end of the day.</p>"
    )


def _bar(place: int, day: dict[str, Any], most: int) -> str:
    """What was found on a day, a part for each kind, one above the other."""
    shape = '<rect x="{}" y="{}" width="{}" height="{}" fill="{}"><title>{}</title></rect>'
    parts, below = "", 0
    for kind, colour in _COLOURS.items():
        if number := day[kind]:
            top, foot = _y(below + number, most), _y(below, most)
            said = f"{day['day']}: {number} {kind}"
            parts += shape.format(place * _BAR + 2, top, _BAR - 4, foot - top, colour, said)
            below += number
    left = place * _BAR + 4
    return parts + f'<text x="{left}" y="{_HEIGHT + 14}" font-size="10">{day["day"][8:]}</text>'


def _y(number: int, most: int) -> int:
    return _HEIGHT - number * _HEIGHT // most


def _open_line(days: Rows, most: int) -> str:
    points = (
        f"{place * _BAR + _BAR // 2},{_y(day['open'], most)}" for place, day in enumerate(days)
    )
    return f'<polyline class="open" points="{" ".join(points)}"/>'


def _key(days: Rows) -> str:
    """Of the kinds that there are."""
    shown = (kind for kind in _COLOURS if any(day[kind] for day in days))
    keys = (
        f'<span class="key" style="background:{_COLOURS[kind]}"></span> {kind}' for kind in shown
    )
    return ", ".join(keys)


def _table(rows: Rows) -> str:
    if not rows:
        return "<p>None.</p>"
    heads = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = "".join(f"<tr>{''.join(_cell(value) for value in row.values())}</tr>" for row in rows)
    return f"<table><tr>{heads}</tr>{lines}</table>"


def _cell(value: object) -> str:
    return f"<td>{'' if value is None else escape(visible(str(value)))}</td>"
