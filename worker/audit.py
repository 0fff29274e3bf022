"""Holds a ledger against I1-I10, as far as a ledger can show them: pure, one order at a time.

A breach names the promise and the row; a backlog is a warning. What only the provider's book can
show (that nothing was executed twice) is reconciliation's, not the audit's.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from refundry import State
from worker.audit_archive import archived_whole
from worker.audit_hands import Weight, settled_by_two, weight
from worker.ledger.query_first import Mode
from worker.ledger.rows import is_uncleared
from worker.ledger.whole import WholeOrder, WholeRefund
from worker.refund import (
    CLOSED,
    FAILED,
    PENDING,
    QUEUED,
    SEALED,
    SUCCEEDED,
    TRANSITIONS,
    UNKNOWN,
    request_digest,
)
from worker.schedule import DAY

#: Two sweeps, and the time that a busy worker takes for them.
LATE: Final = timedelta(seconds=120)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of the audit."""

    #: Which promise: ``I1`` to ``I10``.
    promise: str
    #: ``order A/B`` or ``refund A/B``.
    row: str
    said: str
    #: A backlog, which breaks no promise yet.
    warning: bool = False


def audit_order(whole: WholeOrder, stopped: set[str], now: datetime) -> list[Finding]:
    """Everything that is wrong with one order and its refunds."""
    found = [*_order_findings(whole, stopped)]
    for refund in whole.refunds:
        name = f"refund {refund.row['account']}/{refund.row['refund_no']}"
        for promise, said in _refund_breaches(refund):
            found.append(Finding(promise=promise, row=name, said=said))
    found += _backlog(whole, stopped, now)
    return found


Breach = tuple[str, str]


def audit_modes(modes: Iterable[Mode]) -> list[Finding]:
    """Accounts that ask first: a promise is kept by waiting."""
    return [
        Finding(
            promise="I1",
            row=f"account {mode.account}",
            said=f"asks first since {mode.since}, {mode.reason}: what is not cleared waits",
            warning=True,
        )
        for mode in modes
    ]


def _order_findings(whole: WholeOrder, stopped: set[str]) -> Iterator[Finding]:
    name = f"order {whole.order.merchant}/{whole.order.order_no}"
    checks: tuple[Callable[[WholeOrder], Iterable[Breach]], ...] = (
        _amounts,
        _facts,
        _holders,
        _first_in_first_out,
    )
    for check in checks:
        for promise, said in check(whole):
            yield Finding(promise=promise, row=name, said=said)
    if _is_forgotten(whole, stopped):
        said = "has queued refunds and nothing will wake it"
        yield Finding(promise="I9", row=name, said=said)


def _amounts(whole: WholeOrder) -> Iterator[Breach]:
    order, rows = whole.order, [refund.row for refund in whole.refunds]
    if order.spoken_for > order.paid_amount:
        yield "I2", f"{order.spoken_for} fen are refunded or reserved of {order.paid_amount} paid"
    if order.total_spoken_for > order.order_amount:
        yield "I2", f"{order.total_spoken_for} fen are refunded or reserved of {order.order_amount}"
    expected = dict.fromkeys(Weight._fields, 0)
    for row in rows:
        for column, amount in weight(row)._asdict().items():
            expected[column] += amount
    for column, amount in expected.items():
        if getattr(order, column) != amount:
            yield "I2", f"{column} is {getattr(order, column)} but its refunds make {amount}"


def _facts(whole: WholeOrder) -> Iterator[Breach]:
    """The order's amounts are those that intake last wrote down."""
    accepted = [refund.events[0]["detail"] for refund in whole.refunds if refund.events]
    if not accepted:
        return
    for name in ("order_no", "order_amount", "paid_amount", "refunded_before"):
        if accepted[-1].get(name) != getattr(whole.order, name):
            yield "I7", f"{name} is {getattr(whole.order, name)}, accepted {accepted[-1].get(name)}"


def _holders(whole: WholeOrder) -> Iterator[Breach]:
    holders = [refund.row["refund_no"] for refund in whole.refunds if refund.row["holds_order"]]
    if len(holders) > 1:
        yield "I3", f"held by {', '.join(holders)} at once"


def _first_in_first_out(whole: WholeOrder) -> Iterator[Breach]:
    """First attempts began in the order of intake."""
    begun = [refund for refund in whole.refunds if refund.attempts]
    for before, after in pairwise(begun):
        if before.attempts[0]["started_at"] > after.attempts[0]["started_at"]:
            yield "I10", f"{after.row['refund_no']} was sent before {before.row['refund_no']}"


def _is_forgotten(whole: WholeOrder, stopped: set[str]) -> bool:
    """A queue that nothing holds up, and that nobody will wake."""
    queue = [refund.row for refund in whole.refunds if refund.row["state"] == QUEUED]
    held = any(
        refund.row["holds_order"] and refund.row["state"] != QUEUED for refund in whole.refunds
    )
    if not queue or held or whole.order.stopped or queue[0]["account"] in stopped:
        return False
    return whole.order.wake_at is None


def _refund_breaches(refund: WholeRefund) -> Iterator[Breach]:
    checks: tuple[Callable[[WholeRefund], Iterable[Breach]], ...] = (
        _numbers,
        _replay,
        _attempts,
        _asked_first,
        _evidence,
        settled_by_two,
        archived_whole,
        _told,
        _owned,
    )
    for check in checks:
        yield from check(refund)


def _numbers(refund: WholeRefund) -> Iterator[Breach]:
    """The row carries what was accepted under its number."""
    if not refund.events:
        yield "I7", "has no event"
        return
    accepted = refund.events[0]["detail"]
    for name in ("account", "refund_no", "amount"):
        if refund.row[name] != accepted.get(name):
            yield "I7", f"{name} is {refund.row[name]} but {accepted.get(name)} was accepted"
    if refund.row["marketing_amount"] != accepted.get("marketing_amount", 0):
        yield "I7", f"marketing_amount is {refund.row['marketing_amount']}, not as accepted"
    sealed = [one["detail"] for one in refund.events if one["kind"] == SEALED]
    content = (sealed or [accepted])[-1]
    if request_digest(refund.row["request"]) != content.get("request"):
        yield "I10", "its request is not the one that was accepted"
    for attempt in refund.attempts:
        if attempt["fingerprint"] != refund.row["fingerprint"]:
            yield "I10", f"attempt {attempt['number']} carried other content"


def _replay(refund: WholeRefund) -> Iterator[Breach]:
    """Replaying the events gives the row."""
    state: State | None = None
    for number, event in enumerate(refund.events, start=1):
        after = State(event["state"])
        if event["seq"] != number:
            yield "I7", f"event {number} is missing or doubled"
            return
        if after is not state and after not in TRANSITIONS[state]:
            yield "I7", f"event {number} goes from {state} to {after}"
        state = after
    if not refund.events:
        return
    last = refund.events[-1]
    replayed = {
        "state": last["state"],
        "attempt": last["attempt"],
        "event_seq": last["seq"],
        "holds_order": last["detail"].get("holds"),
        "sent": last["detail"].get("sent", 0),
        "open_sent": last["detail"].get("open_sent", 0),
    }
    for name, value in replayed.items():
        if refund.row[name] != value:
            yield "I7", f"{name} is {refund.row[name]} but its events make {value}"


def _attempts(refund: WholeRefund) -> Iterator[Breach]:
    statuses = [attempt["status"] for attempt in refund.attempts]
    if len(statuses) != refund.row["attempt"]:
        yield "I7", f"has {len(statuses)} attempts and counts {refund.row['attempt']}"
    if statuses.count("started") > 1:
        yield "I3", "has two live requests"
    if statuses.count("succeeded") > 1:
        yield "I1", "was answered as executed by two attempts"
    open_attempts = [status for status in statuses if status not in CLOSED]
    if refund.row["state"] in (FAILED, State.CANCELED) and open_attempts:
        yield "I4", f"is {refund.row['state']} with an attempt that is {open_attempts[0]}"


def _asked_first(refund: WholeRefund) -> Iterator[Breach]:
    """While its account asks first, nothing was sent that was not cleared before."""
    since, cleared_at = refund.row["query_first_since"], refund.row["cleared_at"]
    replayed = [event["at"] for event in refund.events if event["detail"].get("clears")][-1:]
    if [cleared_at] != (replayed or [None]):
        yield "I7", f"was cleared at {cleared_at} but its events make {replayed}"
    sent = [one for one in refund.attempts if one["status"] != "never_sent"][-1:]
    if since is None or not sent or sent[0]["started_at"] <= since:
        return
    if is_uncleared(since, cleared_at) or cleared_at > sent[0]["started_at"]:
        yield "I1", f"was sent without being asked about since {since}"


def _evidence(refund: WholeRefund) -> Iterator[Breach]:
    """A final state stands on what the provider or a named person said."""
    if refund.row["state"] in (SUCCEEDED, FAILED, State.REVERSED):
        final = [event for event in refund.events if event["state"] == refund.row["state"]][:1]
        if final and not {"verdict", "person"} & set(final[0]["detail"]):
            yield "I6", f"became {refund.row['state']} without evidence"
    contested = ("contested_reserved", "contested_marketing", "contested_excess")
    if any(refund.row[column] for column in contested) and not refund.cases:
        yield "I8", "is contradicted without a case"


def _told(refund: WholeRefund) -> Iterator[Breach]:
    """Its notifications came to accounts of its own merchant."""
    for merchant in sorted(refund.told_by - {refund.row["merchant"]}):
        yield "I6", f"has a notification that was {merchant}'s"


def _owned(refund: WholeRefund) -> Iterator[Breach]:
    """What is open will be asked about, or somebody owns it."""
    row = refund.row
    has_case = any(case["closed_at"] is None and case["owner"] for case in refund.cases)
    if row["state"] in (UNKNOWN, PENDING) and row["due_at"] is None and not has_case:
        yield "I9", f"is {row['state']}, is never asked about, and nobody owns it"


def _backlog(whole: WholeOrder, stopped: set[str], now: datetime) -> Iterator[Finding]:
    order = whole.order
    accounts = {refund.row["account"] for refund in whole.refunds}
    if order.wake_at is not None and now - order.wake_at > LATE and not accounts & stopped:
        name = f"order {order.merchant}/{order.order_no}"
        said = f"was to be woken {now - order.wake_at} ago"
        yield Finding(promise="I10", row=name, said=said, warning=True)
    for refund in whole.refunds:
        row = refund.row
        due = row["due_at"]
        if row["state"] in (UNKNOWN, PENDING) and due is not None and now - due > LATE:
            name = f"refund {row['account']}/{row['refund_no']}"
            age = now - row["state_at"]
            said = f"was to be asked about {now - due} ago" + (
                f", open for {age.days} days" if age > DAY else ""
            )
            yield Finding(promise="I10", row=name, said=said, warning=True)
