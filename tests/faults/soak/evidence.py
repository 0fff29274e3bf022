"""Collects what a run has left behind: book, log, export, and a few facts of the ledger."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, select

from tests.faults.soak.injector import Done
from tests.faults.soak.operators import Operators
from tests.faults.soak.producer import Producer
from tests.faults.soak.verdict import NOT_DEDUPLICATING, Evidence, Key, Overlap, Sending
from tests.faults.soak.world import World
from worker.ledger.tables import announcements, events, orders, refunds, refused_jobs

#: Two sweeps, and the time that a busy machine takes for them.
_LATE: Final = timedelta(seconds=10)
#: Whose requests the line repeats (:data:`tests.faults.soak.world.ONCE` has the others).
_REPEATED: Final = ("hkrt", "baofu")
_FINAL: Final = ("succeeded", "failed", "canceled", "reversed")


@dataclass
class Log:
    """What of the simulator's log counts."""

    executed: defaultdict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    declined: dict[Key, float] = field(default_factory=dict)
    overlaps: list[Overlap] = field(default_factory=list)
    mismatched: set[Key] = field(default_factory=set)
    #: By refund and number of the call.
    sendings: defaultdict[Key, dict[int, Sending]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    #: How often which fault was drawn, by kind of call and fault.
    faults: Counter[str] = field(default_factory=Counter)

    def take(self, event: dict[str, Any]) -> None:
        """One line."""
        key = (event["provider"], event.get("refund", ""))
        match event["event"]:
            case "EXECUTED":
                self.executed[key].append(event["at"])
            case "submit_in":
                self._count("submit", event)
                self._note_sending(key, event)
                if event["overlap"]:
                    at, others = event["at"], tuple(event["overlap"])
                    self.overlaps.append(
                        Overlap(provider=key[0], refund=key[1], at=at, others=others)
                    )
            case "submit" | "query" as kind:
                if kind == "query":
                    self._count("query", event)
                if event["facts"].get("state") == "failed":
                    self._note_decline(key, event)
            case "notify":
                self._count("notify", event)
                if event["fault"] == "wrong_amount" and event["acknowledged"]:
                    self.mismatched.add(key)
            case "outage":
                self.faults["outage"] += 1

    def _note_sending(self, key: Key, event: dict[str, Any]) -> None:
        """Repeated by the line or not, it cannot be told where the line repeats."""
        if key[0] not in _REPEATED:
            closed = event["fault"] == "token_refused" and key[0] == NOT_DEDUPLICATING
            self.sendings[key][event["call"]] = Sending(at=event["at"], closed=closed)

    def _note_decline(self, key: Key, event: dict[str, Any]) -> None:
        self.declined.setdefault(key, event["at"])
        for call, sending in self.sendings.get(key, {}).items():
            self.sendings[key][call] = replace(sending, closed=True)

    def _count(self, kind: str, event: dict[str, Any]) -> None:
        if event["fault"] != "ok":
            self.faults[f"{kind} {event['fault'].partition(':')[0]}"] += 1


def _overlap(event: dict[str, Any]) -> Overlap:
    return Overlap(
        provider=event["provider"],
        refund=event["refund"],
        at=event["at"],
        others=tuple(event["overlap"]),
    )


def read_log(path: Path) -> Log:
    """The whole log, read once."""
    log = Log()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if "provider" in event:
                log.take(event)
    return log


def collect(world: World, producer: Producer, operators: Operators, log: Log) -> Evidence:
    """Everything that the verdict is made of."""
    exported = world.stack.exported()
    with world.stack.ledger.read() as connection:
        return Evidence(
            asked=producer.asked,
            book=world.stack.sim.book(),
            exported=exported,
            paid=producer.paid,
            executed=log.executed,
            declined=log.declined,
            overlaps=log.overlaps,
            sendings={key: list(calls.values()) for key, calls in log.sendings.items()},
            moments=_moments(connection, log.overlaps),
            mismatched=frozenset(log.mismatched),
            resubmitted=frozenset(operators.resubmitted),
            refused=_refused(connection),
            told=_told(world),
            undelivered=_undelivered(connection),
            past_due=list(_past_due(world, connection)),
        )


def _moments(connection: Connection, overlaps: list[Overlap]) -> dict[Key, list[tuple[float, str]]]:
    """When the ledger knew what of the refunds that were under way at an overlap."""
    providers = {(overlap.provider, other) for overlap in overlaps for other in overlap.others}
    found = {}
    for provider, number in providers:
        rows = connection.execute(
            select(events.c.at, events.c.state)
            .join(refunds, refunds.c.id == events.c.refund_id)
            .where(refunds.c.refund_no == number)
            .order_by(events.c.seq)
        )
        found[provider, number] = [(row.at.timestamp(), row.state) for row in rows]
    return found


def _refused(connection: Connection) -> dict[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in connection.execute(select(refused_jobs.c.refund_no, refused_jobs.c.code)):
        if row.refund_no:
            found[row.refund_no].add(row.code)
    return {number: frozenset(codes) for number, codes in found.items()}


def _told(world: World) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for _, _, told in world.receiver.told:
        found[told["refund_no"]].append(told["event"])
    return found


def _undelivered(connection: Connection) -> list[str]:
    query = (
        select(refunds.c.refund_no, announcements.c.event)
        .join(refunds, refunds.c.id == announcements.c.refund_id)
        .where(announcements.c.delivered_at.is_(None))
    )
    return [f"{row.refund_no}: {row.event} not delivered" for row in connection.execute(query)]


def _past_due(world: World, connection: Connection) -> Iterator[str]:
    late = world.stack.ledger.now(connection) - _LATE
    asked = select(refunds.c.refund_no, refunds.c.due_at).where(
        refunds.c.state.in_(("unknown", "pending")), refunds.c.due_at < late
    )
    woken = select(orders.c.order_no, orders.c.wake_at).where(orders.c.wake_at < late)
    for row in connection.execute(asked):
        yield f"{row.refund_no}: was to be asked about at {row.due_at}"
    for row in connection.execute(woken):
        yield f"{row.order_no}: was to be woken at {row.wake_at}"


def recoveries(world: World, done: list[Done]) -> list[tuple[str, float]]:
    """Of each fault: seconds from its end until a refund that was accepted after it is final."""
    query = select(refunds.c.accepted_at, refunds.c.state_at).where(refunds.c.state.in_(_FINAL))
    with world.stack.ledger.read() as connection:
        spans = sorted(
            (row.accepted_at.timestamp(), row.state_at.timestamp())
            for row in connection.execute(query)
        )
    found = []
    for fault in done:
        ends = [end for accepted, end in spans if accepted > fault.ended_at]
        if ends:
            found.append((fault.kind, max(0.0, min(ends) - fault.ended_at)))
    return found
