"""The plan of one refund: what happens to it, whatever the dial says."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.dial import check_settle
from simulator.kinds import SpellingError, parse_fate, parse_fault
from simulator.lines import Json

#: What a list that is used up gives.
USED_UP = {"fate": "succeed", "submit": "ok", "query": "ok", "notify": "ok"}
_PARTS = {"fate", "submit", "query", "notify", "settle_s"}


@dataclass
class Plan:
    """Lists are used up in order; None leaves that kind of draw to the dial."""

    #: One fate for every time the refund is processed, or a list that is used up.
    fate: str | list[str] | None = None
    submit: list[str] | None = None
    query: list[str] | None = None
    notify: list[str] | None = None
    #: Seconds after which the refund settles by itself; None leaves it to the dial.
    settle_s: float | None = None

    def take(self, kind: str) -> str | None:
        """The next text of a kind (``fate``, or of a fault), which is used up."""
        texts: str | list[str] | None = getattr(self, kind)
        if isinstance(texts, list):
            return texts.pop(0) if texts else USED_UP[kind]
        return texts


def read_plan(entry: Json) -> Plan:
    """The plan in a control message or a journal line; SpellingError says what was wrong."""
    unknown = set(entry) - {"do", "provider", "refund"} - _PARTS
    if unknown:
        raise SpellingError(f"{min(unknown)!r} is no part of a plan")
    return Plan(
        fate=_fates(entry.get("fate")),
        submit=_faults(entry, "submit"),
        query=_faults(entry, "query"),
        notify=_faults(entry, "notify"),
        settle_s=check_settle(entry.get("settle_s")),
    )


def _fates(value: object) -> str | list[str] | None:
    if isinstance(value, list):
        return [parse_fate(text).text for text in value]
    return None if value is None else parse_fate(value).text


def _faults(entry: Json, kind: str) -> list[str] | None:
    value = entry.get(kind)
    if value is None:
        return None
    if not isinstance(value, list):
        raise SpellingError(f"{kind} is {value!r}: a list of faults is needed")
    return [parse_fault(text, kind).text for text in value]
