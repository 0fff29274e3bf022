"""What one refund costs in statements, round trips and messages: counted, not measured."""

import json
import subprocess
import sys
from collections.abc import Mapping

from bench.allowed import ALLOWED, SCENARIOS, Scenario
from bench.installation import install
from bench.plan import Plan
from bench.site import ROOT, Site
from bench.table import Section

#: Refunds of a scenario; what happens once a tick is shared by them.
REFUNDS = 64


def measure(plan: Plan, section: Section) -> None:
    """Every scenario; the table shows what is counted beside what is allowed and why."""
    for name, scenario in SCENARIOS.items():
        counts = count(plan.servers.site("counted"), scenario)
        section.counted[name] = {kind: times / REFUNDS for kind, times in sorted(counts.items())}
    section.counted["why"] = {kind: allowed.why for kind, allowed in ALLOWED.items()}


def count(site: Site, scenario: Scenario) -> Mapping[str, int]:
    """How often each kind of work is done for all refunds of a scenario together."""
    site.begin()
    asked = json.dumps([REFUNDS, scenario.per_order, scenario.told])
    done = subprocess.run(
        [sys.executable, "-m", "bench.one_thread", asked],
        cwd=ROOT,
        env=site.environment | install(site, scenario.settings),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    counts: dict[str, int] = json.loads(done.stdout)
    return counts
