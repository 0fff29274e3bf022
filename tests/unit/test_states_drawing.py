"""The drawing of the states in the documentation is the transition table."""

import re
from pathlib import Path

from worker.refund import TRANSITIONS, Case

STATES = Path(__file__).parents[2] / "docs" / "states.md"
ARROW = re.compile(r"^\s+(\S+) --> (\w+)", re.MULTILINE)


def test_the_drawing_has_exactly_the_arrows_of_the_table() -> None:
    drawn = set(ARROW.findall(STATES.read_text()))
    table = {
        ("[*]" if before is None else before.value, after.value)
        for before, afters in TRANSITIONS.items()
        for after in afters
    }
    assert drawn == table


def test_every_kind_of_case_is_explained() -> None:
    explained = set(re.findall(r"^\| `(\w+)` \|", STATES.read_text(), re.MULTILINE))
    assert explained == {case.value for case in Case}
