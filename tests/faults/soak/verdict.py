"""The verdict: the providers' book and log against what the service exports; pure.

The book says what was executed, the log when. Of the ledger only that counts which it can be held
to: states, open cases, when it knew of an end.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

#: Provider and refund number.
Key = tuple[str, str]
#: Executes, or would, whatever it is sent; so nothing is sent to it again by itself.
NOT_DEDUPLICATING: Final = "guanaitong"
#: The accounts' grace (6 s from T1) less the longest way of a request, in seconds.
SOONEST_S: Final = 3.5
_FINAL: Final = frozenset({"succeeded", "failed", "canceled", "reversed"})
_NOT_EXECUTED: Final = frozenset({"failed", "canceled"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One refund that a producer asked for."""

    account: str
    #: More than one where producers contradicted each other.
    amounts: frozenset[int]
    #: Codes with which it may be refused.
    refusable: frozenset[str] = frozenset()
    #: The gateway answered that it has it.
    promised: bool = False
    #: Where it wants to be told.
    told: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """A submission that came while others of its order were under way."""

    provider: str
    refund: str
    at: float
    others: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sending:
    """A submission as it came to the provider."""

    at: float
    #: The provider said, or its book says, that this one was not executed.
    closed: bool


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a run has left behind."""

    #: By refund number.
    asked: Mapping[str, Asked]
    #: Rows of ``/_sim/book``.
    book: Iterable[Mapping[str, Any]]
    #: Rows of ``refundry export``, by refund number.
    exported: Mapping[str, Mapping[str, Any]]
    #: What was paid, by provider and order.
    paid: Mapping[Key, int]
    #: Times of the log's ``EXECUTED``.
    executed: Mapping[Key, list[float]] = field(default_factory=dict)
    #: First time that the log shows the provider's refusal.
    declined: Mapping[Key, float] = field(default_factory=dict)
    overlaps: Iterable[Overlap] = ()
    #: Every submission, in its order, to the providers before which the line repeats nothing.
    sendings: Mapping[Key, list[Sending]] = field(default_factory=dict)
    #: The ledger's events of refunds that overlapped: time and state, in their order.
    moments: Mapping[Key, list[tuple[float, str]]] = field(default_factory=dict)
    #: Refunds whose notification of another amount was acknowledged.
    mismatched: frozenset[Key] = frozenset()
    #: Failed refunds that were asked for again.
    resubmitted: frozenset[str] = frozenset()
    #: Codes with which jobs of a number were refused.
    refused: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: What the producers' receiver was told, by refund number.
    told: Mapping[str, list[str]] = field(default_factory=dict)
    #: Announcements that the ledger has not delivered.
    undelivered: Iterable[str] = ()
    #: Rows that are past their due time by more than two sweeps.
    past_due: Iterable[str] = ()


def judge(evidence: Evidence) -> dict[str, list[str]]:
    """What is wrong, by column; every column empty is what the protocol promises."""
    return {name: sorted(set(check(evidence))) for name, check in _COLUMNS.items()}


def _name(key: Key) -> str:
    return f"{key[0]}/{key[1]}"


def _executed_twice(evidence: Evidence) -> Iterator[str]:
    yield from (_name(key) for key, times in evidence.executed.items() if len(times) > 1)
    for row in evidence.book:
        if row["executions"] > 1:
            yield _name((row["provider"], row["refund"]))


def _overlapping(evidence: Evidence) -> Iterator[str]:
    for overlap in evidence.overlaps:
        if _is_a_copy(evidence, overlap):
            continue
        for other in overlap.others:
            if not _had_ended(evidence, (overlap.provider, other), overlap.at):
                yield f"{overlap.provider}/{overlap.refund} with {other} at {overlap.at:.3f}"


def _is_a_copy(evidence: Evidence, overlap: Overlap) -> bool:
    """The network's repetition of a request that was decided: it can do nothing any more."""
    key = (overlap.provider, overlap.refund)
    ends = evidence.executed.get(key, [])[:1]
    if overlap.refund not in evidence.resubmitted and key in evidence.declined:
        ends = [*ends, evidence.declined[key]]
    return any(end < overlap.at for end in ends)


def _had_ended(evidence: Evidence, key: Key, at: float) -> bool:
    """The service knew its end, from a question or a message, while its call still hung."""
    before = [state for moment, state in evidence.moments.get(key, []) if moment <= at]
    return bool(before) and before[-1] in _FINAL


def _sent_again(evidence: Evidence) -> Iterator[str]:
    """What may have been executed: never again, or not before its grace is over."""
    for key, sendings in evidence.sendings.items():
        for before, after in pairwise(sendings):
            soon = after.at - before.at < SOONEST_S
            if not before.closed and (soon or key[0] == NOT_DEDUPLICATING):
                yield f"{_name(key)} after {after.at - before.at:.3f} s"


def _over_refunded(evidence: Evidence) -> Iterator[str]:
    moved: defaultdict[Key, int] = defaultdict(int)
    for row in evidence.book:
        moved[row["provider"], row["order"]] += row["amount"] * row["executions"]
    for key, amount in moved.items():
        if amount > evidence.paid.get(key, 0):
            yield f"{_name(key)}: {amount} fen of {evidence.paid.get(key, 0)}"


def _lost(evidence: Evidence) -> Iterator[str]:
    for number, asked in evidence.asked.items():
        if number in evidence.exported:
            continue
        codes = evidence.refused.get(number, frozenset())
        if asked.promised:
            yield f"{number}: the gateway had taken it"
        elif not codes:
            yield f"{number}: neither taken nor refused"
        elif not codes <= asked.refusable:
            yield f"{number}: refused as {', '.join(sorted(codes))}"
    for row in evidence.book:
        if row["refund"] not in evidence.exported:
            yield f"{row['refund']}: the provider has it"


def _pairs(evidence: Evidence) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The service's row and the provider's, where both have one."""
    for theirs in evidence.book:
        ours = evidence.exported.get(theirs["refund"])
        if ours is not None:
            yield ours, theirs


def _says(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    return f"{ours['refund_no']}: {ours['state']}, at the provider {theirs['state']}"


def _contradict(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """The service's final state is not what the provider's book says."""
    state = ours["state"]
    if state == "succeeded":
        return bool(theirs["state"] != "succeeded")
    return state in _NOT_EXECUTED and theirs["state"] != "failed"


def _wrong_final_state(evidence: Evidence) -> Iterator[str]:
    for ours, theirs in _pairs(evidence):
        asked = evidence.asked.get(ours["refund_no"])
        if _contradict(ours, theirs):
            yield _says(ours, theirs)
        if ours["amount"] != theirs["amount"] or (asked and ours["amount"] not in asked.amounts):
            yield f"{ours['refund_no']}: {ours['amount']} fen, at the provider {theirs['amount']}"
    known = {row["refund"] for row in evidence.book}
    for number, ours in evidence.exported.items():
        if ours["state"] == "succeeded" and number not in known:
            yield f"{number}: succeeded, and the provider does not know it"


def _contradiction_without_case(evidence: Evidence) -> Iterator[str]:
    for ours, theirs in _pairs(evidence):
        if _contradict(ours, theirs) and ours["case"] is None:
            yield _says(ours, theirs)
        key = (theirs["provider"], theirs["refund"])
        if key in evidence.mismatched and ours["case"] is None:
            yield f"{ours['refund_no']}: told another amount"


def _executed_all_the_same(evidence: Evidence) -> Iterator[str]:
    for ours, theirs in _pairs(evidence):
        if ours["state"] in _NOT_EXECUTED and theirs["executions"]:
            yield _says(ours, theirs)


def _unfinished(evidence: Evidence) -> Iterator[str]:
    """Neither final, nor in a case, nor behind one of its order that is."""
    stuck = {_order_of(row) for row in evidence.exported.values() if row["case"] is not None}
    for number, row in evidence.exported.items():
        if row["state"] in _FINAL or row["case"] is not None:
            continue
        if row["state"] != "queued" or _order_of(row) not in stuck:
            yield f"{number}: {row['state']} after {row['attempts']} attempts"


def _order_of(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row["account"]), str(row["order_no"])


def _not_announced(evidence: Evidence) -> Iterator[str]:
    yield from evidence.undelivered
    for number, asked in evidence.asked.items():
        row = evidence.exported.get(number)
        if not asked.told or row is None:
            continue
        wanted = {"accepted"} | ({"final"} if row["state"] in _FINAL else set())
        if missing := wanted - set(evidence.told.get(number, [])):
            yield f"{number}: not told {', '.join(sorted(missing))}"


def _past_due(evidence: Evidence) -> Iterator[str]:
    yield from evidence.past_due


_COLUMNS: Final[Mapping[str, Callable[[Evidence], Iterator[str]]]] = {
    "executed twice": _executed_twice,
    "overlapping": _overlapping,
    "sent again too early": _sent_again,
    "over-refunded": _over_refunded,
    "lost": _lost,
    "wrong final state": _wrong_final_state,
    "contradictions without a case": _contradiction_without_case,
    "canceled or failed, yet executed": _executed_all_the_same,
    "unfinished without a case": _unfinished,
    "past due by more than two sweeps": _past_due,
    "announcements missing": _not_announced,
}
