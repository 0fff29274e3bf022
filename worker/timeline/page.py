"""The page itself: HTML that needs nothing else, every value escaped. Pure."""

import html
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from config.visible import visible
from worker.timeline import words
from worker.timeline.words import Words, moment, money

_MONEY: Final = (
    "amount",
    "order_amount",
    "paid_amount",
    "refunded_before",
    "refunded",
    "reserved",
    "excess",
    "provider_refunded",
    "provider_left",
)
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
code, .detail { font: 12px/1.4 ui-monospace, monospace; color: #555 }
code { white-space: nowrap }
td.detail { width: 38% }
footer { margin-top: 2rem; color: #777; font-size: 12px }
@media print { body { margin: 0; max-width: none } h2 { break-after: avoid }
  tr { break-inside: avoid } thead { display: table-header-group } @page { margin: 15mm } }
"""

Row = Mapping[str, Any]


def page(shown: Row, own: Words, at: datetime) -> str:
    """A refund's page.

    Args:
        shown: what ``refundry status`` shows.
        own: the language's words.
        at: when it is made.
    """
    label, currency = _labels(own), shown["currency"]
    title = f"{label('title')} {_text(shown['refund_no'])}"
    parts = [
        f"<h1>{title}</h1>",
        _facts(_summary(shown, own), currency, label),
        f"<h2>{label('order')}</h2>",
        _facts(shown["order"], currency, label),
        *(_section(name, shown[name], own) for name in _SECTIONS),
        f"<footer>Refundry · {label('made')} {moment(at)}</footer>",
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="{own.tag}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _labels(own: Words) -> Callable[[str], str]:
    return lambda name: _text(own.of(words.LABELS, name))


def _text(value: object) -> str:
    return html.escape(visible(str(value)))


def _summary(shown: Row, own: Words) -> dict[str, Any]:
    names = ("account", "order_no", "amount", "state", "provider_refund_no", "reason")
    chosen = {name: shown[name] for name in (*names, "accepted_at")}
    said = f"{own.of(words.STATES, shown['state'])} ({shown['state']})"
    return chosen | {"state": said}


def _facts(facts: Row, currency: str, label: Callable[[str], str]) -> str:
    rows = (
        f'<tr><th scope="row">{label(name)}</th>{_cell(name, value, currency)}</tr>'
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<table>{''.join(rows)}</table>"


def _cell(name: str, value: Any, currency: str = "") -> str:
    if name in _MONEY:
        return f'<td class="money">{_text(money(value, currency))}</td>'
    if isinstance(value, datetime):
        return f'<td class="at">{moment(value)}</td>'
    return f"<td>{'' if value is None else _text(value)}</td>"


def _coded(value: str, table: Mapping[str, str], own: Words) -> str:
    return f"<td>{_text(own.of(table, value))} <code>{_text(value)}</code></td>"


def _detail(value: object) -> str:
    shown = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return f'<td class="detail">{_text(shown)}</td>'


def _event(row: Row, own: Words) -> list[str]:
    return [
        _cell("at", row["at"]),
        _coded(row["kind"], words.EVENTS, own),
        _coded(row["state"], words.STATES, own),
        _cell("attempt", row["attempt"] or None),
        _detail(row["detail"]),
    ]


def _attempt(row: Row, own: Words) -> list[str]:
    said = [_cell(name, row[name]) for name in ("code", "message")]
    times = [_cell(name, row[name]) for name in ("started_at", "finished_at")]
    return [
        _cell("number", row["number"]),
        *times,
        _coded(row["status"], words.ATTEMPTS, own),
        *said,
    ]


def _callback(row: Row, own: Words) -> list[str]:
    what = _coded(row["verdict"], words.VERDICTS, own)
    return [_cell("at", row["first_at"]), what, _cell("times", row["times"])]


def _case(row: Row, own: Words) -> list[str]:
    closed = row["closed_at"] or own.of(words.LABELS, "open")
    return [
        _cell("opened_at", row["opened_at"]),
        _coded(row["kind"], words.CASES, own),
        _cell("owner", row["owner"]),
        _cell("closed_at", closed),
        _detail(row["evidence"]),
    ]


#: Each part of the page below the facts: the heads of its columns, and a row's cells.
_SECTIONS: Final[dict[str, tuple[Sequence[str], Callable[[Row, Words], list[str]]]]] = {
    "events": (("at", "what", "state", "attempt", "detail"), _event),
    "attempts": (("number", "started_at", "finished_at", "what", "code", "message"), _attempt),
    "callbacks": (("at", "what", "times"), _callback),
    "cases": (("opened_at", "what", "owner", "closed_at", "detail"), _case),
}


def _section(name: str, rows: Iterable[Row], own: Words) -> str:
    label = _labels(own)
    columns, cells = _SECTIONS[name]
    lines = [f"<tr>{''.join(cells(row, own))}</tr>" for row in rows]
    heads = "".join(f'<th scope="col">{label(column)}</th>' for column in columns)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    none = f"<p>{label('none')}</p>"
    return f"<h2>{label(name)}</h2>\n{table if lines else none}"
