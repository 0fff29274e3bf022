"""What the suites share that run every provider against the simulator."""

from collections.abc import Iterator

import pytest

from tests.providers.conformance import Connected, Subject, connected
from tests.simulator.harness import Sim


@pytest.fixture
def there(subject: Subject, sim: Sim) -> Iterator[Connected]:
    """A suite's subject, connected to the simulator that plays it."""
    with connected(subject, sim) as one:
        yield one
