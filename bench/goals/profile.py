"""Where the time of one refund goes: a flame graph beside the results, and its shares."""

from bench.flame import record
from bench.plan import Plan
from bench.table import Section

#: More than a worker can do while it is looked at.
REFUNDS = 6_000


def measure(plan: Plan, section: Section) -> None:
    """One worker under load."""
    section.counted["share"] = record(plan.servers, REFUNDS, plan.folder / "flame.svg")
