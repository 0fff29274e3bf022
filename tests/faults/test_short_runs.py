"""Short runs of the soak: every part is broken at once, and the provider's book shows zeros.

``make soak`` runs the same for as long as one likes.
"""

import json
from pathlib import Path

import pytest

from tests.faults.soak.engine import run
from tests.faults.soak.table import as_json, table

#: Seconds of injection; starting, and the lease of the last attempt that was killed, come on top.
RUNS = {"sqlite": 31.0, "postgresql": 31.0, "rabbitmq": 12.0}


@pytest.mark.parametrize("stack", RUNS)
def test_whatever_breaks_nothing_is_lost_or_done_twice(
    stack: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp(f"soak-{stack}")
    result = run(stack, RUNS[stack] / 60, seed=7, folder=folder)
    (folder / "result.json").write_text(json.dumps(as_json(result)))
    shown = f"{table(result)}\nkept: {folder}"
    print(shown)
    assert result.is_clean, shown
    assert result.refunds["accepted"] > 50, shown
    assert len(result.recoveries) > 0, shown
    assert all(result.faults[where] for where in ("infrastructure", "line", "providers")), shown
