"""What waiting for a provider costs: threads, processes, one order, and an idle service."""

from collections.abc import Iterable
from statistics import median
from typing import Final

from bench.contenders.refundry_up import Refundry
from bench.contenders.rivals import HandRolled
from bench.installation import ACCEPTED, FAST
from bench.measure import jobs, run, waits
from bench.plan import Plan
from bench.table import Goal, Section

#: Threads of the worker that waits.
THREADS: Final = 32
#: The goal's own latency comes last.
LATENCIES_S: Final = (0.01, 0.05, 0.2)
#: Refunds of one thread: the first and the last of a run, when not all threads are at work, weigh
#: little.
ROUNDS: Final = 30
#: The hot order's.
HOT_S: Final = 0.02


def measure(plan: Plan, section: Section) -> None:
    """All four."""
    waiting(plan, section)
    two_workers(plan, section)
    idle(plan, section)
    hot_order(plan, section)


def waiting(plan: Plan, section: Section) -> None:
    """Threads wait for a slow provider; how many calls they make of what they could."""
    shares: dict[float, list[float]] = {latency_s: [] for latency_s in LATENCIES_S}
    for _ in range(plan.repetitions):
        for latency_s, found in shares.items():
            contender = Refundry(concurrency=THREADS, settings=FAST)
            site, work = plan.servers.site(contender.name), jobs(ROUNDS * THREADS, 1)
            one = run(contender, site, work, latency_s=latency_s, synchronous=True)
            found.append(100 * section.keep(one).calls / one.seconds / (THREADS / latency_s))
    section.row(
        "provider calls/s at 200 ms, 32 threads, of threads ÷ latency",
        Goal.least(90, " %"),
        shares[LATENCIES_S[-1]],
    )
    section.curves["calls in % of threads ÷ latency by latency in ms"] = [
        (1000 * latency_s, share) for latency_s, found in shares.items() for share in found
    ]


def two_workers(plan: Plan, section: Section) -> None:
    """Both wait for the provider most of the time."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(plan.repetitions):
        for workers, found in rates.items():
            contender = Refundry(workers=workers, concurrency=4, settings=FAST)
            site = plan.servers.site(contender.name)
            one = run(contender, site, jobs(plan.count, 1), latency_s=0.05, synchronous=True)
            found.append(section.keep(one).rate)
    section.row(
        "two worker processes against one, 4 threads each, 50 ms",
        Goal.least(1.7),
        [two / one for one, two in zip(rates[1], rates[2], strict=True)],
    )
    section.curves["refunds/s by worker processes"] = [
        (workers, rate) for workers, found in rates.items() for rate in found
    ]


def idle(plan: Plan, section: Section) -> None:
    """From handing a job over to its request, one at a time, nothing else going on."""
    ratios: dict[str, list[float]] = {"median": [], "p99": []}
    for _ in range(plan.repetitions):
        by_hand, mine = HandRolled("threads", 16), Refundry(settings=ACCEPTED)
        theirs = waits(by_hand, plan.servers.site(by_hand.name), plan.count // 3)
        ours = waits(mine, plan.servers.site(mine.name), plan.count // 3)
        ratios["median"].append(median(ours) / median(theirs))
        ratios["p99"].append(p99(ours) / p99(theirs))
    for name, figures in ratios.items():
        what = f"enqueue → request at the provider, idle, {name}, against hand-rolled"
        section.row(what, Goal.most(1), figures)


def hot_order(plan: Plan, section: Section) -> None:
    """All refunds on one order, against the time that its calls alone take, one after the other."""
    count, figures = plan.count, []
    for _ in range(plan.repetitions):
        contender = Refundry(settings=ACCEPTED)
        site = plan.servers.site(contender.name)
        one = section.keep(run(contender, site, jobs(count, count), latency_s=HOT_S))
        figures.append(one.seconds / (count * HOT_S))
    what = f"one order with {count} refunds, 20 ms each, against the serial bound"
    section.row(what, Goal.most(1.2), figures)


def p99(values: Iterable[float]) -> float:
    """All but one in a hundred are no greater."""
    ordered = sorted(values)
    return ordered[-1 - len(ordered) // 100]
