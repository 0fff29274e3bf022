"""The dial of one provider: how often which fault and which fate comes, and how slow it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeGuard

from simulator.kinds import SpellingError, parse_fate, parse_fault
from simulator.lines import Json


@dataclass(frozen=True, kw_only=True)
class Dial:
    """Probabilities; what they leave of 1 is ``ok`` or ``succeed``."""

    #: Seconds, least and most, between a request's arrival and its processing.
    latency_s: tuple[float, float] = (0.0, 0.0)
    #: Probability by fault of a submit.
    submit: dict[str, float] = field(default_factory=dict)
    #: Probability by fault of a query.
    query: dict[str, float] = field(default_factory=dict)
    #: Probability by fault of a notification.
    notify: dict[str, float] = field(default_factory=dict)
    #: How often a notification is sent until it is acknowledged.
    notify_tries: int = 9
    #: Seconds after which what is pending settles by itself; None: only queries settle it.
    settle_s: float | None = None
    #: Probability by fate of a refund that is processed.
    fate: dict[str, float] = field(default_factory=dict)
    #: A refused refund's number may be submitted again, as if it had never been used.
    decline_frees_number: bool = False
    #: A number that is known is told of or refused; else a further submission is executed again.
    deduplicates: bool = True

    def merged(self, change: Json) -> Dial:
        """A dial whose given settings are replaced, each as a whole; or SpellingError."""
        known = {setting.name for setting in fields(self)}
        for name in change:
            if name not in known:
                raise SpellingError(f"{name!r} is no setting; known are {', '.join(sorted(known))}")
        return replace(self, **{name: _CHECKS[name](value) for name, value in change.items()})

    def as_json(self) -> Json:
        return asdict(self)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_settle(value: object) -> float | None:
    """Seconds until what is pending settles by itself, or None; or SpellingError."""
    if value is None:
        return None
    if not is_number(value) or not 0 <= value <= 86_400:
        raise SpellingError(f"settle_s is {value!r}: seconds from 0 to 86400, or null, are needed")
    return float(value)


def _tries(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 100:
        raise SpellingError(f"notify_tries is {value!r}: an integer from 1 to 100 is needed")
    return value


def _latency(value: object) -> tuple[float, float]:
    if not (isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value))):
        raise SpellingError(f"latency_s is {value!r}: two numbers, least and most, are needed")
    if not 0 <= value[0] <= value[1]:
        raise SpellingError(f"latency_s is {value!r}: 0 <= least <= most does not hold")
    return float(value[0]), float(value[1])


def _probabilities(name: str, check: Callable[[object], object]) -> Callable[[object], Json]:
    def read(value: object) -> Json:
        if not isinstance(value, dict):
            raise SpellingError(f"{name} is {value!r}: an object of probabilities is needed")
        for key, share in value.items():
            check(key)
            if not is_number(share) or not 0 <= share <= 1:
                raise SpellingError(
                    f"{name}: the probability of {key} is {share!r}, not within 0 to 1"
                )
        if sum(value.values()) > 1 + 1e-9:
            raise SpellingError(f"{name}: the probabilities add up to more than 1")
        return dict(value)

    return read


def _flag(name: str) -> Callable[[object], bool]:
    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise SpellingError(f"{name} is {value!r}: true or false is needed")
        return value

    return read


_CHECKS: dict[str, Callable[[object], Any]] = {
    "latency_s": _latency,
    "submit": _probabilities("submit", lambda text: parse_fault(text, "submit")),
    "query": _probabilities("query", lambda text: parse_fault(text, "query")),
    "notify": _probabilities("notify", lambda text: parse_fault(text, "notify")),
    "notify_tries": _tries,
    "settle_s": check_settle,
    "fate": _probabilities("fate", parse_fate),
    "decline_frees_number": _flag("decline_frees_number"),
    "deduplicates": _flag("deduplicates"),
}
