"""Whatever happens between the steps, in whatever order, what was promised holds.

Workers stop between any two steps and may die there; messages come twice, late or never; locks
expire; the provider acts late, says nothing, says "not found" of what it has, or tells by itself. A
broken promise is shown as the shortest history that leads to it. ``--hypothesis-profile=deep``
searches for as long as one likes, each time elsewhere.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.integration.book import Nature
from tests.integration.moves import AMOUNTS, Move, possible, with_lost_answers
from tests.integration.promises import check, run_dry, take_back
from tests.integration.world import World, Worlds

NATURES = st.builds(
    Nature,
    repeated=st.sampled_from(["replayed", "refused", "executed"]),
    keeps_declines=st.booleans(),
    takes_declined=st.booleans(),
    amount_first=st.booleans(),
    one_at_a_time=st.booleans(),
)
SETTINGS = st.fixed_dictionaries(
    {"query": st.sampled_from([True, True, False]), "not_found_needed": st.integers(1, 2)},
    optional={
        "notify_url": st.just("http://127.0.0.1:9/callbacks/shop"),
        "serialisation": st.just("until_accepted"),
        "attempts_max": st.just(2),
        "not_found_over_s": st.just(1),
    },
)


class Interleavings(RuleBasedStateMachine):
    """Who does what next."""

    worlds: ClassVar[Worlds]

    def __init__(self) -> None:
        super().__init__()
        self.closing = ExitStack()

    @initialize(
        nature=NATURES,
        own=SETTINGS,
        unbounded=st.booleans(),
        amounts=st.tuples(*[st.sampled_from(AMOUNTS)] * 2),
    )
    def begin(
        self, nature: Nature, own: dict[str, Any], unbounded: bool, amounts: tuple[int, int]
    ) -> None:
        asked_only = own["query"] and "notify_url" not in own
        may_be = nature.deduplicates and not nature.takes_declined and asked_only
        bounded = not (unbounded and may_be)
        self.world = self.closing.enter_context(self.worlds.open(nature, bounded=bounded, **own))
        for number, amount in zip(("A1", "A2"), amounts, strict=True):
            self.world.request(number, amount)

    @rule(data=st.data())
    def next(self, data: st.DataObject) -> None:
        def draw(options: Sequence[Any]) -> Any:
            return data.draw(st.sampled_from(options))

        draw(self.moves(self.world))(self.world, draw)

    def moves(self, world: World) -> list[Move]:
        return possible(world)

    @invariant()
    def what_was_promised_holds(self) -> None:
        check(self.world)

    def teardown(self) -> None:
        """Nothing goes wrong any more: everything ends."""
        with self.closing:
            if sys.exc_info()[0] is None and hasattr(self, "world"):
                run_dry(self.world)
                take_back(self.world)


class LostAnswers(Interleavings):
    """One refund, or two, of an order: what was sent is not heard of, and asked about in vain."""

    @initialize(nature=NATURES, own=SETTINGS, amounts=st.sampled_from([(40,), (60, 60)]))
    def begin(self, nature: Nature, own: dict[str, Any], amounts: tuple[int, ...]) -> None:
        self.world = self.closing.enter_context(self.worlds.open(nature, **own))
        for number, amount in zip(("A1", "A2"), amounts, strict=False):
            self.world.request(number, amount)

    def moves(self, world: World) -> list[Move]:
        return with_lost_answers(world)


def test_whatever_is_sent_and_not_heard_of_what_was_promised_holds(worlds: Worlds) -> None:
    Interleavings.worlds = worlds
    run_state_machine_as_test(LostAnswers, settings=how_long(80, 12))


def test_whatever_happens_in_whatever_order_what_was_promised_holds(worlds: Worlds) -> None:
    Interleavings.worlds = worlds
    run_state_machine_as_test(Interleavings, settings=how_long(100, 40))


def how_long(histories: int, steps: int) -> settings:
    """The same histories each time; with the profile ``deep`` others, and many."""
    if settings.get_current_profile_name() == "deep":
        return settings()
    return settings(
        max_examples=histories,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def worlds(sqlite_template: Path, tmp_path: Path) -> Worlds:
    return Worlds(sqlite_template, tmp_path)
