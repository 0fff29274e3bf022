"""The soak can be run again: what is done to an installation depends on the seed alone."""

import json
import subprocess
import sys
from itertools import combinations

import pytest

from tests.e2e.stack import ROOT
from tests.faults.proxy import misfortune
from tests.faults.soak.load import wishes
from tests.faults.soak.plan import KINDS, STACKS, plan

SHORT_S = 36.0


def printed(seed: int) -> list[dict[str, object]]:
    command = [sys.executable, "-m", "tests.faults.soak", "--plan", "--minutes=2", f"--seed={seed}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_same_seed_plans_the_same_faults_in_every_process_and_another_others() -> None:
    expected = [fault.as_json() for fault in plan(5, 120, "postgresql")]
    assert printed(5) == expected
    assert printed(6) != expected


def test_the_same_seed_draws_the_same_jobs_and_the_same_line_and_another_others() -> None:
    def drawn(seed: int) -> list[object]:
        jobs = [wish.job for number in range(50) for wish in wishes(seed, number, "")]
        amounts = [job["amount"] for job in jobs]
        return [amounts, [misfortune(seed, number) for number in range(500)]]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


@pytest.mark.parametrize("stack", STACKS)
def test_a_longer_run_begins_with_the_faults_of_a_shorter_one(stack: str) -> None:
    long, longer = plan(5, 1200, stack), plan(5, 2400, stack)
    begun = {(fault.kind, fault.number): fault.at_s for fault in longer}
    assert all(begun[fault.kind, fault.number] == fault.at_s for fault in long)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("seed", range(5))
def test_a_fault_is_over_when_the_injection_ends_and_none_breaks_a_broken_part(
    stack: str, seed: int
) -> None:
    faults = plan(seed, 300, stack)
    assert all(fault.at_s + fault.lasts_s <= 300 for fault in faults)
    for one, other in combinations(faults, 2):
        if one.part == other.part:
            assert one.at_s + one.lasts_s <= other.at_s


@pytest.mark.parametrize("stack", STACKS)
def test_a_long_soak_has_every_kind_of_fault_and_a_short_run_one_stopped_worker(stack: str) -> None:
    possible = {kind.name for kind in KINDS if stack in kind.stacks}
    assert {fault.kind for fault in plan(5, 1200, stack)} == possible
    short = [fault for fault in plan(5, SHORT_S, stack) if fault.kind == "worker_stopped"]
    assert len(short) == 1
