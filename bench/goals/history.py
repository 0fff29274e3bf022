"""Intake and submit on top of few refunds and of many."""

from dataclasses import dataclass, field
from typing import Final, Self

from bench.contenders.refundry_up import Refundry
from bench.history import Pattern, fill_up, pattern_of
from bench.installation import FAST
from bench.measure import Run, jobs, run
from bench.plan import Plan
from bench.site import Site
from bench.table import Curve, Goal, Section

#: Refunds that the others are compared with.
FEW: Final = 10_000
#: Where the plot has points between.
BETWEEN: Final = (100_000, 1_000_000)
#: Refunds that a worker finishes, to be multiplied.
FINISHED: Final = 400


def measure(plan: Plan, section: Section) -> None:
    """Two ledgers in turns; the provider is final at once, so that nothing is asked."""
    few, many = (Ledger.begun(plan) for _ in range(2))
    few.fill_up(FEW)
    for size in (size for size in BETWEEN if size < plan.history):
        many.fill_up(size)
        section.keep(many.on_top(plan))
    many.fill_up(plan.history)
    pairs = []
    for _ in range(plan.repetitions):
        pairs.append((section.keep(few.on_top(plan)), section.keep(many.on_top(plan))))
    for ledger in (few, many):
        plan.servers.drop(ledger.site.database_url)
    what = f"{plan.history:,} refunds of history against {FEW:,}: "
    section.row(
        what + "time of intake and submit",
        Goal.most(1.3),
        [short.rate / long.rate for short, long in pairs],
    )
    section.row(
        what + "CPU of intake and submit",
        Goal.most(1.3),
        [long.cpu_ms / short.cpu_ms for short, long in pairs],
    )
    section.curves["CPU of a refund in ms by refunds of history"] = [*few.costs, *many.costs]


@dataclass(kw_only=True, slots=True)
class Ledger:
    """A ledger that grows, and what refunds cost on top of it."""

    site: Site
    pattern: Pattern
    size: int = 0
    #: Refunds of history, and the CPU of a refund on top of them, in ms.
    costs: Curve = field(default_factory=list)

    @classmethod
    def begun(cls, plan: Plan) -> Self:
        """With what a worker wrote about refunds that it finished, four to an order."""
        site = plan.servers.site("history")
        return cls(site=site, pattern=finished(site))

    def fill_up(self, wanted: int) -> None:
        """Load what is missing of so many refunds."""
        fill_up(self.site.database_url, self.pattern, wanted)
        self.size = wanted

    def on_top(self, plan: Plan) -> Run:
        """A worker's run on it."""
        contender = Refundry(settings=FAST)
        site = plan.servers.site(contender.name, self.site.database_url)
        one = run(contender, site, jobs(plan.count), synchronous=True)
        self.costs.append((self.size, one.cpu_ms))
        return one


def finished(site: Site) -> Pattern:
    """What a worker wrote about refunds that it finished, four to an order."""
    contender = Refundry(settings=FAST)
    site.begin(synchronous=True)
    contender.prepare(site)
    try:
        contender.hire()
        contender.enqueue(jobs(FINISHED))
        contender.await_state("succeeded", FINISHED)
    finally:
        contender.stop()
    return pattern_of(site.database_url)
