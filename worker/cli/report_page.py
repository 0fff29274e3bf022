"""A report of reconciliation as one HTML page that needs nothing else, with a plot of the days."""

from collections import defaultdict
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from config.visible import visible

_STYLE: Final = (
    "body{font:14px sans-serif;margin:2em;color:#222}table{border-collapse:collapse;margin:1em 0}"
    "td,th{border:1px solid #ccc;padding:.2em .5em;text-align:left}th{background:#f2f2f2}"
    ".agreed{fill:#7bb274}.differ{fill:#c44}"
)
#: Of a day's bar and of the plot, in pixels.
_BAR, _HEIGHT, _FOOT = 26, 120, 20

Rows = Sequence[dict[str, Any]]


def page(runs: Rows, differences: Rows) -> str:
    """The page: lines that agree and that differ by day, the runs, and what differs."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Reconciliation</title>'
        f"<style>{_STYLE}</style><h1>Reconciliation</h1>"
        f"<h2>Differences by day found</h2>{_plot(_by_day(differences))}"
        f"<h2>Runs</h2>{_table(runs)}"
        f"<h2>Differences (amounts in fen)</h2>{_table(differences)}</html>\n"
    )


def _by_day(differences: Rows) -> dict[str, tuple[int, int]]:
    """Of each day, how many differences were found, and how many of them are explained."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in differences:
        day = row["found_at"].date().isoformat()
        found[day][0] += 1
        found[day][1] += row["explained_at"] is not None
    return {day: (total, explained) for day, (total, explained) in sorted(found.items())}


def _plot(days: dict[str, tuple[int, int]]) -> str:
    if not days:
        return "<p>None.</p>"
    most = max(total for total, _ in days.values())
    bars = "".join(_bar(place, day, *days[day], most) for place, day in enumerate(days))
    width = _BAR * len(days)
    return (
        f'<svg role="img" width="{width}" height="{_HEIGHT + _FOOT}" '
        f'viewBox="0 0 {width} {_HEIGHT + _FOOT}">{bars}</svg>'
        "<p>Red: differs; green: explained by a later bill.</p>"
    )


def _bar(place: int, day: str, total: int, explained: int, most: int) -> str:
    left, high, green = place * _BAR, total * _HEIGHT // most, explained * _HEIGHT // most
    shape = '<rect x="{}" y="{}" width="{}" height="{}" class="{}"><title>{}</title></rect>'
    said = f"{day}: {total} found, {explained} explained"
    return (
        shape.format(left + 2, _HEIGHT - high, _BAR - 4, high - green, "differ", said)
        + shape.format(left + 2, _HEIGHT - green, _BAR - 4, green, "agreed", said)
        + f'<text x="{left + 4}" y="{_HEIGHT + 14}" font-size="10">{day[8:]}</text>'
    )


def _table(rows: Rows) -> str:
    if not rows:
        return "<p>None.</p>"
    heads = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = "".join(f"<tr>{''.join(_cell(value) for value in row.values())}</tr>" for row in rows)
    return f"<table><tr>{heads}</tr>{lines}</table>"


def _cell(value: object) -> str:
    return f"<td>{'' if value is None else escape(visible(str(value)))}</td>"
