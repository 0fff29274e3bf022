"""The names of faults and fates, and how their texts (``slow:2``, ``pending:3``) are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Faults both kinds of call know.
COMMON_FAULTS = frozenset(
    {
        "ok",
        "slow",
        "truncated",
        "garbage",
        "bad_signature",
        "wrong_amount",
        "wrong_number",
        "unknown_code",
    }
)
SUBMIT_FAULTS = COMMON_FAULTS | {
    "timeout_after",
    "timeout_before",
    "reset_after",
    "reset_before",
    "http_500_after",
    "http_500_before",
    "http_404_before",
    "headers_cut",
    "drip",
    "drip_headers",
    "oversized",
    "gzip_bomb",
    "redirect",
    "unknown_status",
    "late",
    "token_refused",
}
#: Beside those that say ``_before``, faults under which the provider does nothing.
UNPROCESSED = frozenset({"redirect", "token_refused"})
QUERY_FAULTS = COMMON_FAULTS | {"not_found", "timeout", "reset", "http_500", "http_404"}
#: What may go wrong with a notification, which is a call of the provider's own.
NOTIFY_FAULTS = frozenset(
    {
        "ok",
        "late",
        "twice",
        "none",
        "forged",
        "contradicting",
        "reordered",
        "stale",
        "wrong_amount",
    }
)
#: Faults by the kind of call they belong to.
FAULTS = {"submit": SUBMIT_FAULTS, "query": QUERY_FAULTS, "notify": NOTIFY_FAULTS}
FAULTS_WITH_SECONDS = frozenset({"slow", "late"})
#: A ``reversal`` is executed, and a query finds later that the money came back.
FATES = frozenset({"succeed", "decline", "pending", "pending_decline", "unknown", "reversal"})
FATES_WITH_COUNT = frozenset({"pending", "pending_decline", "unknown", "reversal"})


class SpellingError(ValueError):
    """Raised when the text of a fault or fate names nothing the simulator can play."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way an answer is lost or spoilt."""

    #: As it was written, e.g. ``late:4``.
    text: str
    #: Without its argument, e.g. ``late``.
    name: str
    #: The argument; 0 where the fault has none.
    seconds: float = 0.0

    @property
    def processed(self) -> bool:
        """Whether the provider acts on the request at all."""
        return not self.name.endswith("_before") and self.name not in UNPROCESSED

    @property
    def delivery(self) -> str:
        """How the answer travels, whether or not the request was processed."""
        return self.name.removesuffix("_before").removesuffix("_after")


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What the provider decides about one refund."""

    #: As it was written, e.g. ``pending:2``.
    text: str
    #: Without its argument, e.g. ``pending``.
    name: str
    #: How many queries it lasts; 0 for ``succeed`` and ``decline``.
    count: int = 0

    def settles_at(self, asked: int) -> bool:
        """Whether the query of that number (1 is the first after acceptance) finds it settled."""
        return asked > self.count if self.name == "unknown" else asked >= self.count


def parse_fault(text: object, kind: str) -> Fault:
    """A fault of ``submit``, ``query`` or ``notify``; SpellingError says what was wrong."""
    name, argument = _split(text, FAULTS[kind], FAULTS_WITH_SECONDS, f"{kind} fault")
    if not argument:
        return Fault(text=name, name=name)
    return Fault(text=str(text), name=name, seconds=_seconds(argument, str(text)))


def parse_fate(text: object) -> Fate:
    """A fate; SpellingError says what was wrong."""
    name, argument = _split(text, FATES, FATES_WITH_COUNT, "fate")
    if not argument:
        return Fate(text=name, name=name)
    if not (argument.isascii() and argument.isdigit()):
        raise SpellingError(f"{text!r}: the count must be a whole number")
    return Fate(text=str(text), name=name, count=int(argument))


def _split(
    text: object, names: frozenset[str], with_argument: frozenset[str], what: str
) -> tuple[str, str]:
    if not isinstance(text, str):
        raise SpellingError(f"{text!r} is not a {what}: a text is needed")
    name, colon, argument = text.partition(":")
    if name not in names:
        raise SpellingError(f"{text!r} is not a {what}; known are {', '.join(sorted(names))}")
    if bool(argument) != (name in with_argument) or bool(colon) != bool(argument):
        form = f"{name}:NUMBER" if name in with_argument else name
        raise SpellingError(f"{text!r} is not a {what}: write {form}")
    return name, argument


def _seconds(argument: str, text: str) -> float:
    try:
        seconds = float(argument)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 3600:
        raise SpellingError(f"{text!r}: the seconds must be a number between 0 and 3600")
    return seconds
