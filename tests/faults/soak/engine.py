"""One run: injection, settling, verdict."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from sqlalchemy import exists, func, or_, select

from tests.faults.soak import dials, evidence
from tests.faults.soak.injector import Injector
from tests.faults.soak.operators import Operators
from tests.faults.soak.plan import Fault, plan
from tests.faults.soak.producer import Producer
from tests.faults.soak.verdict import judge
from tests.faults.soak.world import World, standing
from worker.errors import ServiceAway
from worker.ledger.tables import announcements, cases, refunds
from worker.refund import OPEN

#: Between two looks, in seconds.
_LOOK_S: Final = 0.25
#: After the faults everything has to be settled within this, in seconds.
SETTLE_S: Final = 240.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run has shown."""

    stack: str
    seed: int
    minutes: float
    #: Counts: how many refunds, and what became of them.
    refunds: dict[str, int]
    #: Faults by where they came from, and then by kind.
    faults: dict[str, dict[str, int]]
    #: What is wrong, by column.
    verdict: dict[str, list[str]]
    audit: str
    settled_s: float
    recoveries: list[tuple[str, float]]
    missed: list[str] = field(default_factory=list)

    @property
    def injected(self) -> int:
        """All faults together."""
        return sum(sum(counts.values()) for counts in self.faults.values())

    @property
    def is_clean(self) -> bool:
        """Whether every column is zero, and the audit agrees."""
        return not any(self.verdict.values()) and not self.audit

    def times_to_recover(self) -> tuple[float, float]:
        """Median and longest, in seconds."""
        times = [seconds for _, seconds in self.recoveries]
        return (median(times), max(times)) if times else (0.0, 0.0)


def run(stack: str, minutes: float, seed: int, folder: Path) -> Result:
    """Break an installation for so long, let it settle, and judge it.

    Args:
        stack: of :data:`tests.faults.soak.plan.STACKS`.
        minutes: of injection; starting and settling come on top.
        seed: of every draw.
        folder: for everything that the run keeps.
    """
    todo = plan(seed, minutes * 60, stack)
    with standing(stack, folder, seed) as world:
        producer, operators = Producer(world, seed), Operators(world)
        injector = Injector(world, operators, producer.more)
        try:
            _inject(world, producer, injector, todo, minutes * 60)
            settled_s = _settle(world, producer, operators)
        finally:
            producer.close()
        return _judge(world, producer, operators, injector, (stack, minutes, seed), settled_s)


def _inject(
    world: World,
    producer: Producer,
    injector: Injector,
    todo: tuple[Fault, ...],
    seconds: float,
) -> None:
    for dial in dials.worst_day():
        world.stack.sim.control("dial", dial)
    thread = threading.Thread(target=injector.run, args=(todo,), name="injector")
    thread.start()
    ends_at = time.monotonic() + seconds
    try:
        while time.monotonic() < ends_at or thread.is_alive():
            producer.step()
            time.sleep(_LOOK_S)
    finally:
        injector.stop()
        thread.join()


def _settle(world: World, producer: Producer, operators: Operators) -> float:
    """No fault any more, and no new refund: seconds until everything is final or a case."""
    began = time.monotonic()
    world.proxy.is_bad = False
    for dial in dials.calm():
        world.stack.sim.control("dial", dial)
    while time.monotonic() - began < SETTLE_S:
        with suppress(ServiceAway):
            operators.resume_all()
            operators.release_all()
            producer.look()
            producer.send_again()
            if not producer.waiting and not _unsettled(world):
                break
        time.sleep(1.0)
    return time.monotonic() - began


def _unsettled(world: World) -> int:
    """Refunds that are neither final nor in or behind a case, and what was not announced."""
    other = refunds.alias()
    in_case = exists().where(
        cases.c.refund_id == other.c.id,
        cases.c.closed_at.is_(None),
        other.c.order_id == refunds.c.order_id,
        or_(other.c.id == refunds.c.id, refunds.c.state == "queued"),
    )
    open_ones = select(func.count()).select_from(refunds).where(refunds.c.state.in_(OPEN), ~in_case)
    untold = select(func.count()).where(announcements.c.delivered_at.is_(None))
    with world.stack.ledger.read() as connection:
        return int(connection.execute(open_ones).scalar_one()) + int(
            connection.execute(untold).scalar_one()
        )


def _judge(
    world: World,
    producer: Producer,
    operators: Operators,
    injector: Injector,
    what: tuple[str, float, int],
    settled_s: float,
) -> Result:
    log = evidence.read_log(world.stack.sim.home / "log.jsonl")
    found = evidence.collect(world, producer, operators, log)
    return Result(
        stack=what[0],
        minutes=what[1],
        seed=what[2],
        refunds=_counts(found),
        faults={
            "infrastructure": dict(injector.acts),
            "line": {k: v for k, v in world.proxy.counts.items() if k != "none"},
            "providers": dict(log.faults),
        },
        verdict=judge(found),
        audit=_audit(world),
        settled_s=settled_s,
        recoveries=evidence.recoveries(world, injector.done),
        missed=injector.missed,
    )


def _counts(found: Any) -> dict[str, int]:
    counts: dict[str, int] = {"asked for": len(found.asked), "accepted": len(found.exported)}
    for row in found.exported.values():
        counts[row["state"]] = counts.get(row["state"], 0) + 1
        if row["case"] is not None:
            counts[f"case {row['case']}"] = counts.get(f"case {row['case']}", 0) + 1
    return counts


def _audit(world: World) -> str:
    """What the ledger's own audit has found; empty where it has found nothing."""
    try:
        world.stack.refundry("audit")
    except AssertionError as error:
        return str(error)
    return ""
