"""What a refund went through, and what a case is about, as tables of text. Pure.

A page and a terminal show the same; a cell says how it is to be set.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

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
#: What is told of a refund itself, and of a case.
_REFUND: Final = (
    *("account", "order_no", "amount", "state", "provider_refund_no", "reason"),
    *("accepted_at", "due_at", "asked", "last_answer"),
)
_CASE: Final = (
    *("kind", "subject", "owner", "opened_at", "close_by", "closed_at"),
    *("account", "order_no", "refund_no", "amount", "state"),
)

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One text, as people read it."""

    text: str = ""
    #: The ledger's own code of it.
    code: str = ""
    #: ``at``, ``money``, ``detail`` or ``said`` (text of several lines), where it is set otherwise.
    look: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A table with its title; one without heads has a fact a row, called by its first cell."""

    title: str
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()


def story_of_refund(shown: Row, own: Words) -> list[Part]:
    """What ``refundry status`` shows: the refund, its order, and all that they went through."""
    title = f"{_label(own, 'title')} {shown['refund_no']}"
    state = _named(words.STATES, shown["state"], own)
    facts = {name: shown[name] for name in _REFUND} | {"state": state}
    entries = [
        {"of": f"{case['id']} {case['kind']}"} | entry
        for case in shown["cases"]
        for entry in case["entries"]
    ]
    return [
        _facts(title, facts, shown["currency"], own),
        _facts(_label(own, "order"), shown["order"], shown["currency"], own),
        *_parts({**shown, "entries": entries}, own),
    ]


def story_of_case(shown: Row, own: Words) -> list[Part]:
    """What ``refundry case show`` shows: the case, and all that its refund went through."""
    facts = {name: shown.get(name) for name in _CASE} | {"close_by": shown["due_at"]}
    facts["kind"] = _named(words.CASES, shown["kind"], own)
    if shown["state"] is not None:
        facts["state"] = _named(words.STATES, shown["state"], own)
    title = f"{_label(own, 'case')} {shown['id']}"
    currency = shown["currency"] or "CNY"
    entries = [{"of": str(shown["id"])} | entry for entry in shown["entries"]]
    evidence = Part(
        title=_label(own, "evidence"),
        rows=[[Cell(text=name), _detail(value)] for name, value in shown["evidence"].items()],
    )
    return [
        _facts(title, facts, currency, own),
        evidence,
        *_parts({**shown, "entries": entries}, own),
    ]


def _named(table: Mapping[str, str], code: str, own: Words) -> str:
    return f"{own.of(table, code)} ({code})"


def _label(own: Words, name: str) -> str:
    return own.of(words.LABELS, name)


def _facts(title: str, facts: Row, currency: str, own: Words) -> Part:
    rows = [
        [Cell(text=_label(own, name)), _cell(name, value, currency)]
        for name, value in facts.items()
        if value not in (None, "")
    ]
    return Part(title=title, rows=rows)


def _cell(name: str, value: Any, currency: str = "") -> Cell:
    if value is None:
        return Cell()
    if name in _MONEY:
        return Cell(text=money(value, currency), look="money")
    if isinstance(value, datetime):
        return Cell(text=moment(value), look="at")
    return Cell(text=str(value))


def _coded(value: str, table: Mapping[str, str], own: Words) -> Cell:
    return Cell(text=own.of(table, value), code=value)


def _detail(value: object) -> Cell:
    if isinstance(value, str):
        return Cell(text=value, look="detail")
    shown = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return Cell(text=shown, look="detail")


def _event(row: Row, own: Words) -> list[Cell]:
    detail = {name: value for name, value in row["detail"].items() if name != "exchange"}
    return [
        _cell("at", row["at"]),
        _coded(row["kind"], words.EVENTS, own),
        _coded(row["state"], words.STATES, own),
        _cell("attempt", row["attempt"] or None),
        _detail(detail),
    ]


def _exchange(row: Row, own: Words) -> list[Cell]:
    of = row["number"] or own.of(words.EVENTS, row["kind"])
    what = Cell(text=f"{_label(own, row['what'])} {of}")
    said = [Cell(text=row[name] or "", look="said") for name in ("request", "answer")]
    return [_cell("at", row["at"]), what, *said]


def exchanges(shown: Row) -> list[dict[str, Any]]:
    """What was sent and what came back: of the attempts, and of the questions that told news."""
    sent = [
        {"at": row["finished_at"] or row["started_at"], "what": "attempt", "number": row["number"]}
        | {name: row[name] for name in ("request", "answer")}
        for row in shown["attempts"]
        if row["request"]
    ]
    asked = [
        {"at": row["at"], "what": "question", "number": None, "kind": row["kind"]}
        | row["detail"]["exchange"]
        for row in shown["events"]
        if "exchange" in row["detail"]
    ]
    return sorted(sent + asked, key=lambda row: str(row["at"]))


def _attempt(row: Row, own: Words) -> list[Cell]:
    said = [_cell(name, row[name]) for name in ("code", "message")]
    times = [_cell(name, row[name]) for name in ("started_at", "finished_at")]
    status = _coded(row["status"], words.ATTEMPTS, own)
    return [_cell("number", row["number"]), *times, status, *said]


def _callback(row: Row, own: Words) -> list[Cell]:
    what = _coded(row["verdict"], words.VERDICTS, own)
    return [_cell("at", row["first_at"]), what, _cell("times", row["times"])]


def _case(row: Row, own: Words) -> list[Cell]:
    closed = row["closed_at"] or _label(own, "open")
    return [
        _cell("number", row["id"]),
        _cell("opened_at", row["opened_at"]),
        _coded(row["kind"], words.CASES, own),
        _cell("owner", row["owner"]),
        _cell("closed_at", closed),
        _detail(row["evidence"]),
    ]


def _entry(row: Row, own: Words) -> list[Cell]:
    return [
        _cell("at", row["at"]),
        _cell("case", row["of"]),
        _cell("who", row["who"]),
        _coded(row["what"], words.DEEDS, own),
        _cell("why", row["reason"]),
        _detail(row["detail"]) if row["detail"] else Cell(),
    ]


def _proposal(row: Row, own: Words) -> list[Cell]:
    """Who said it, and who said so too; or who took it back."""
    second = row["approved_by"] or row["withdrawn_by"]
    became = "approved" if row["approved_by"] else "withdrawn" if row["withdrawn_by"] else "open"
    return [
        _coded(row["state"], words.STATES, own),
        _cell("evidence", row["evidence"]),
        _cell("proposed_by", row["proposed_by"]),
        _cell("at", row["proposed_at"]),
        Cell(text=_label(own, became)),
        _cell("second", second),
        _cell("at", row["approved_at"] or row["closed_at"]),
        _cell("why", row["reason"]),
    ]


#: Each part behind the facts: the heads of its columns, and a row's cells.
_PARTS: Final[dict[str, tuple[Sequence[str], Callable[[Row, Words], list[Cell]]]]] = {
    "events": (("at", "what", "state", "attempt", "detail"), _event),
    "attempts": (("number", "started_at", "finished_at", "what", "code", "message"), _attempt),
    "exchanges": (("at", "what", "request", "answer"), _exchange),
    "callbacks": (("at", "what", "times"), _callback),
    "cases": (("number", "opened_at", "what", "owner", "closed_at", "detail"), _case),
    "entries": (("at", "case", "who", "what", "why", "detail"), _entry),
    "proposals": (
        ("state", "evidence", "who", "at", "became", "second", "at", "why"),
        _proposal,
    ),
}


def _parts(shown: Row, own: Words) -> Iterable[Part]:
    told = {**shown, "exchanges": exchanges(shown)} if "attempts" in shown else shown
    for name, (heads, cells) in _PARTS.items():
        if name in told:
            rows = [cells(row, own) for row in told[name]]
            heads_of_it = [_label(own, head) for head in heads]
            yield Part(title=_label(own, name), heads=heads_of_it, rows=rows)
