"""From every standing that a refund can reach, every decision keeps what was promised."""

from collections import deque
from collections.abc import Hashable
from copy import copy
from dataclasses import replace
from datetime import timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import RULES
from tests.unit.life import Life
from worker.refund import Rules

#: One "not found" is as good as three here: what counts is what follows.
QUICK = replace(RULES, not_found_needed=1, not_found_over=timedelta())
KINDS = {
    "resubmits": (QUICK, True),
    "replays a decline": (QUICK, False),
    "resubmits, lets go on acceptance": (replace(QUICK, releases_on_acceptance=True), True),
    "replays a decline, waits for funds": (replace(QUICK, funds_same_number=True), False),
    "does not deduplicate": (replace(QUICK, deduplicates=False), False),
    "resubmits, is not asked": (replace(QUICK, asks=False), True),
    "replays a decline, is not asked": (replace(QUICK, asks=False), False),
    "waits for funds, is not asked": (
        replace(QUICK, asks=False, funds_same_number=True, releases_on_acceptance=True), True,
    ),
    "does not deduplicate, is not asked": (replace(QUICK, deduplicates=False, asks=False), False),
}  # fmt: skip


#: The ways in which these differ are all that a restore has to do with.
RESTORED_KINDS = (
    "resubmits",
    "replays a decline",
    "does not deduplicate",
    "resubmits, is not asked",
)
#: What had happened by the time of the backup.
BACKUPS = {
    "queued": (),
    "under way": ("send",),
    "executed, and nobody knows": ("send", "1: execute", "outlive the lease"),
    "declined": ("send", "1: decline", "hear answer 1 (started)"),
    "turned away": ("send", "1: reject", "hear answer 1 (started)"),
}


def key(life: Life) -> Hashable:
    """What makes two moments of a life the same."""
    standing = life.standing
    if standing.not_found_since is not None:
        standing = replace(standing, not_found_since=None)
    attempts, outcomes = tuple(life.attempts.items()), tuple(sorted(life.outcomes.items()))
    way = (life.reply, life.flying, life.past_grace, life.record, life.executed, life.told)
    return standing, attempts, outcomes, way, life.backup is None, life.restored, life.lost


def branch(life: Life, move: int) -> Life:
    """The life after one of its moves."""
    after = copy(life)
    after.attempts, after.outcomes, after.refused = dict(life.attempts), dict(life.outcomes), []
    next(islice(after.moves(), move, None))[1]()
    return after


@pytest.mark.parametrize(("rules", "frees_declined"), KINDS.values(), ids=KINDS)
def test_two_attempts_go_right_in_every_order_of_events(rules: Rules, frees_declined: bool) -> None:
    assert explore(Life(rules=rules, frees_declined=frees_declined)) > 300


@pytest.mark.parametrize("backup", BACKUPS)
@pytest.mark.parametrize("kind", RESTORED_KINDS)
def test_what_a_restored_ledger_has_lost_goes_right_in_every_order_of_events(
    kind: str, backup: str
) -> None:
    rules, frees_declined = KINDS[kind]
    life = Life(rules=rules, frees_declined=frees_declined)
    for word in BACKUPS[backup]:
        dict(life.moves())[word]()
    life.backup = life.standing, dict(life.attempts)
    assert explore(life, most=life.standing.attempt + 1) > 10


def explore(start: Life, most: int = 2) -> int:
    """Go through every order of events with at most so many attempts that the ledger knows of."""
    seen: dict[Hashable, tuple[Hashable, str]] = {key(start): ((), "")}
    waiting = deque([start])
    while waiting:
        life = waiting.popleft()
        here = key(life)
        for number, (name, _) in enumerate(life.moves()):
            after = branch(life, number)
            end = key(after)
            if after.standing.attempt > most or end in seen:
                continue
            seen[end] = (here, name)
            assert not after.broken(), (after.broken(), history(seen, end))
            waiting.append(after)
    return len(seen)


def history(seen: dict[Hashable, tuple[Hashable, str]], end: Hashable) -> list[str]:
    """The moves that led somewhere."""
    names: list[str] = []
    while end != ():
        end, name = seen[end]
        names.insert(0, name)
    return names


@given(
    kind=st.sampled_from(sorted(KINDS)),
    needed=st.integers(1, 2),
    choices=st.lists(st.integers(0, 59), max_size=60),
)
@settings(max_examples=400, deadline=None)
def test_long_lives_go_right(kind: str, needed: int, choices: list[int]) -> None:
    rules, frees_declined = KINDS[kind]
    life = Life(rules=replace(rules, not_found_needed=needed), frees_declined=frees_declined)
    told = []
    for choice in choices:
        moves = list(life.moves())
        if not moves:
            return
        name, move = moves[choice % len(moves)]
        told.append(name)
        move()
        assert not life.broken(), (life.broken(), told)
