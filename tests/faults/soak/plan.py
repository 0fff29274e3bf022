"""What is done to an installation and when: a pure function of the seed, drawn kind by kind."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from simulator.draws import chance

#: What an installation stands on: ledger and broker.
STACKS: Final = ("sqlite", "postgresql", "rabbitmq")
#: A part that stands for all of them: what takes it wants nothing else to be broken meanwhile.
EVERYTHING: Final = "everything"
WORKERS: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of fault, or of an operator's act."""

    name: str
    #: What it takes for itself; two faults of one part are never at once.
    part: str
    #: Seconds from one to the next, on average.
    every_s: float
    #: Seconds from its beginning to its end, least and most.
    lasts_s: tuple[float, float] = (0.0, 0.0)
    #: Seconds that the part needs afterwards to be itself again.
    rests_s: float = 2.0
    #: Shorter runs go without it.
    least_run_s: float = 0.0
    #: Where it can be done.
    stacks: tuple[str, ...] = STACKS
    #: Whether it breaks something that has to recover; the rest is load and operators' acts.
    breaks: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault of the plan; times are seconds from the beginning of the injection."""

    kind: str
    #: Which of its kind, from 1.
    number: int
    part: str
    at_s: float
    lasts_s: float
    #: In [0, 1): chooses the victim where there are several.
    choice: float

    def as_json(self) -> dict[str, Any]:
        """For people and programs."""
        return asdict(self)


_SERVERS: Final = ("postgresql", "rabbitmq")
#: The rarest first, for these are placed first.
KINDS: Final = (
    Kind(name="worker_stopped", part="worker", every_s=200, lasts_s=(27, 28), rests_s=1),
    Kind(name="supervisor_killed", part=EVERYTHING, every_s=300, rests_s=25, least_run_s=120),
    Kind(name="database_restarted", part="database", every_s=150, rests_s=4, stacks=_SERVERS),
    Kind(name="broker_restarted", part="broker", every_s=120, rests_s=6),
    Kind(name="broker_frozen", part="broker", every_s=90, lasts_s=(1, 6)),
    Kind(name="broker_flushed", part="broker", every_s=90),
    Kind(name="locks_restarted", part="locks", every_s=120, stacks=("rabbitmq",)),
    Kind(name="locks_flushed", part="locks", every_s=60, stacks=("rabbitmq",)),
    Kind(name="connections_cut", part="database", every_s=45, stacks=_SERVERS),
    Kind(name="ledger_locked", part="database", every_s=60, lasts_s=(2, 5)),
    Kind(name="worker_killed", part="worker", every_s=40, rests_s=5),
    Kind(name="beat_killed", part="beat", every_s=60, rests_s=4),
    Kind(name="gateway_killed", part="gateway", every_s=60, rests_s=5),
    Kind(name="provider_out", part="provider", every_s=60, lasts_s=(2, 5)),
    Kind(name="second_beat", part="second beat", every_s=60, lasts_s=(8, 20), breaks=False),
    Kind(name="account_paused", part="account", every_s=40, lasts_s=(1, 5), breaks=False),
    Kind(name="flood", part="load", every_s=120, least_run_s=120, breaks=False),
    Kind(name="hot_order", part="load", every_s=40, rests_s=0, breaks=False),
    Kind(name="poison", part="poison", every_s=20, rests_s=0, breaks=False),
    Kind(name="order_held", part="hold", every_s=10, lasts_s=(0.5, 3), rests_s=0, breaks=False),
    Kind(name="canceled", part="cancel", every_s=5, rests_s=0, breaks=False),
    Kind(name="resubmitted", part="resubmit", every_s=3, rests_s=0, breaks=False),
)
#: The kinds whose end an installation has to recover from.
BREAKING: Final = frozenset(kind.name for kind in KINDS if kind.breaks)


def plan(seed: int, seconds: float, stack: str) -> tuple[Fault, ...]:
    """Every fault of a run, in its order; each is over when the injection ends."""
    placed: list[Fault] = []
    for kind in KINDS:
        if stack not in kind.stacks or seconds < kind.least_run_s:
            continue
        for fault in _drawn(seed, kind, seconds):
            if not any(_collide(fault, other) for other in placed):
                placed.append(fault)
    return tuple(sorted(placed, key=lambda fault: (fault.at_s, fault.kind)))


def _drawn(seed: int, kind: Kind, seconds: float) -> Iterator[Fault]:
    """The faults of a kind, one after the other; the first comes in the shortest of runs."""
    least, most = kind.lasts_s
    room = seconds - most
    gap = min(kind.every_s, max(room / 2, most))
    number, at = 1, min(gap, room) * chance(seed, kind.name, "first")
    while 0 < at <= room:
        choice = chance(seed, kind.name, "choice", number)
        lasts = least + (most - least) * chance(seed, kind.name, "lasts", number)
        yield Fault(
            kind=kind.name,
            number=number,
            part=f"worker-{1 + int(choice * WORKERS)}" if kind.part == "worker" else kind.part,
            at_s=round(at, 3),
            lasts_s=round(lasts, 3),
            choice=choice,
        )
        number += 1
        at += gap * (0.5 + chance(seed, kind.name, "gap", number))


_RESTS: Final = {kind.name: kind.rests_s for kind in KINDS}


def _collide(one: Fault, other: Fault) -> bool:
    """Whether two faults would break one part at once."""
    if one.part != other.part and EVERYTHING not in (one.part, other.part):
        return False
    return one.at_s < _over(other) and other.at_s < _over(one)


def _over(fault: Fault) -> float:
    return fault.at_s + fault.lasts_s + _RESTS[fault.kind]
