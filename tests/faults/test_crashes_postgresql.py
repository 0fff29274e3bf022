"""A worker dies in some places of every step, where transactions really run at once."""

import random

import pytest

from tests.faults.conftest import CrashIn
from tests.faults.crash_scenarios import NOTIFYING, PROVIDERS, SCENARIOS, Scenario

#: Of each scenario; all of them are crashed at on SQLite.
PLACES = 3


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_nothing_is_lost_or_paid_twice_on_postgresql_wherever_a_worker_dies(
    crash_in_postgresql: CrashIn, scenario: Scenario, crash_seed: int
) -> None:
    able = tuple(NOTIFYING) if scenario.told else PROVIDERS
    provider = random.Random(f"{crash_seed} {scenario}").choice(able)
    crash_in_postgresql(scenario, provider, most=PLACES)
