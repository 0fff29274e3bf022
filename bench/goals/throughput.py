"""How many refunds a second, and what one costs, against everybody else."""

from typing import Final

from bench.contenders.base import Contender
from bench.contenders.refundry_up import Refundry
from bench.contenders.rivals import BareLoop, Dbos, HandRolled, Procrastinate
from bench.installation import ACCEPTED
from bench.measure import Run, jobs, run
from bench.plan import Plan
from bench.table import Goal, Section
from worker.supervisor.programs import default_workers

#: A rival, and how many times as fast Refundry has to be.
LEAST: Final = (("hand-rolled prefork", 2), ("procrastinate", 3), ("dbos", 12))


def everyone() -> list[Contender]:
    """The contenders, each tuned for two cores as its documentation says."""
    return [
        BareLoop(),
        HandRolled("prefork", 4),
        HandRolled("threads", 8),
        Procrastinate(),
        Dbos(),
        Refundry(default_workers(), settings=ACCEPTED),
    ]


def measure(plan: Plan, section: Section) -> None:
    """The same refunds through every contender, in turns, so that all share the machine's moods."""
    found: dict[str, list[Run]] = {}
    for _ in range(plan.repetitions):
        for contender in everyone():
            one = run(contender, plan.servers.site(contender.name), jobs(plan.count))
            found.setdefault(one.contender, []).append(section.keep(one))
    ours = found["refundry"]
    for rival, least in LEAST:
        section.row(
            f"finished refunds/s at 0 ms, against {rival}",
            Goal.least(least),
            [mine.rate / other.rate for mine, other in zip(ours, found[rival], strict=True)],
        )
    section.row(
        "CPU of a refund (worker and beat), against the bare loop",
        Goal.most(2.5),
        [mine.cpu_ms / bare.cpu_ms for mine, bare in zip(ours, found["bare loop"], strict=True)],
    )
