"""One tick's questions, among few open refunds and among many."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.contenders.refundry_up import Refundry
from bench.history import fill_up, pattern_of
from bench.installation import FAST, NEVER_ASKED, install
from bench.measure import jobs
from bench.plan import Plan
from bench.site import ROOT, Site
from bench.table import Goal, Section

#: Open refunds that the others are compared with.
FEW: Final = 10_000
#: Refunds that are due at once.
DUE: Final = 1_000
#: Refunds that a worker sends, to be multiplied.
SENT: Final = 100


def measure(plan: Plan, section: Section) -> None:
    """Both ledgers in turns, each tick in a process of its own."""
    seconds: dict[int, list[float]] = {FEW: [], plan.open_refunds: []}
    with opened(plan, FEW) as few, opened(plan, plan.open_refunds) as many:
        for _ in range(plan.repetitions):
            seconds[FEW].append(tick(few))
            seconds[plan.open_refunds].append(tick(many))
    section.row(
        f"a poll tick with {plan.open_refunds:,} open refunds, {DUE:,} due, against {FEW:,} open",
        Goal.most(1.2),
        [long / short for short, long in zip(*seconds.values(), strict=True)],
    )
    section.curves["ms of a tick by open refunds"] = [
        (size, 1000 * one) for size, found in seconds.items() for one in found
    ]


@contextmanager
def opened(plan: Plan, wanted: int) -> Iterator[Site]:
    """A ledger with so many refunds that were accepted, and are asked about tomorrow."""
    contender = Refundry(settings=NEVER_ASKED)
    site = plan.servers.site(contender.name)
    site.begin()
    contender.prepare(site)
    try:
        contender.hire()
        contender.enqueue(jobs(SENT, 1))
        contender.await_state("pending", SENT)
    finally:
        contender.stop()
    fill_up(site.database_url, pattern_of(site.database_url), wanted)
    yield site
    plan.servers.drop(site.database_url)


def tick(site: Site) -> float:
    """Seconds from the claim to the last answer that was written down."""
    site.begin(known_amount=100)
    command = [sys.executable, "-m", "bench.tick", str(DUE)]
    environment = site.environment | install(site, FAST)
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return float(json.loads(done.stdout)["seconds"])
