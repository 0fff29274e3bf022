"""A worker dies in every place of every step; ``guanaitong``, which does not deduplicate."""

import pytest

from tests.faults.conftest import CrashIn
from tests.faults.crash_scenarios import Scenario, scenarios_of

PROVIDER = "guanaitong"


@pytest.mark.parametrize("scenario", scenarios_of(PROVIDER), ids=str)
def test_nothing_is_lost_or_paid_twice_wherever_a_worker_dies(
    crash_in: CrashIn, scenario: Scenario
) -> None:
    crash_in(scenario, PROVIDER)
