"""A queue that has grown long: whether the rate holds until its end, and the memory."""

from itertools import pairwise

from bench.contenders.refundry_up import Refundry
from bench.installation import ACCEPTED
from bench.measure import jobs, work_off
from bench.plan import Plan
from bench.table import Goal, Section


def measure(plan: Plan, section: Section) -> None:
    """All jobs wait when the worker starts; it works them off, once."""
    contender, count = Refundry(settings=ACCEPTED), plan.backlog
    site = plan.servers.site(contender.name)
    one, watch = work_off(contender, site, jobs(count))
    section.keep(one)
    finished = sorted(site.book()["finished"].values())
    rates = tenths(finished)
    what = f"backlog of {count:,} jobs: "
    section.row(
        what + "the last tenth's rate against the first's",
        Goal.least(0.95),
        [rates[-1] / rates[0]],
    )
    section.row(
        what + "worker's memory at its most, 32 threads", Goal.most(130, " MiB"), [one.memory_mib]
    )
    section.row(
        what + "memory in the second half against the first",
        Goal.most(1.05),
        [growth([taken for at, taken in watch.memory if at >= finished[0]])],
    )
    section.curves["refunds/s by tenth of the backlog"] = [
        (number, rate) for number, rate in enumerate(rates, start=1)
    ]
    section.curves["worker's memory in MiB by second"] = [
        (at - watch.began, taken) for at, taken in watch.memory
    ]


def tenths(finished: list[float]) -> list[float]:
    """Refunds a second in each tenth of them, by when they were final."""
    size = (len(finished) - 1) // 10
    edges = finished[: 10 * size + 1 : size]
    return [size / (end - begin) for begin, end in pairwise(edges)]


def growth(heights: list[float]) -> float:
    """The most in the second half against the most in the first."""
    half = len(heights) // 2
    return max(heights[half:]) / max(heights[:half])
