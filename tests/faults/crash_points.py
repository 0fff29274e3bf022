"""In every place between two effects of a scenario a worker dies; others recover, all must hold."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from tests.faults.crash_checks import breaches
from tests.faults.crash_effects import CRASHED, Point
from tests.faults.crash_scenarios import ASKING, Scenario, Step
from tests.faults.crash_story import Bench, Story

#: Of each scenario, crashes in a recovery, and workers that stop and go on when all is over.
SECOND_CRASHES: Final = 2
PAUSES: Final = 1
#: While the dead worker's lock is in place; its lease is over in the end.
_LOCKED: Final[tuple[Step, ...]] = (
    ("round", {}),
    ("wait", {"seconds": 90}),
    ("round", {}),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What was crashed."""

    effects: int
    places: int
    second: int
    pauses: int

    def __str__(self) -> str:
        return (
            f"{self.effects:3} effects, {self.places:3} crashes, {self.second} second crashes, "
            f"{self.pauses} pauses"
        )


class Crashes:
    """All crashes of one scenario at one provider."""

    def __init__(self, bench: Bench, scenario: Scenario, provider: str, seed: int) -> None:
        self._bench, self._scenario, self._provider = bench, scenario, provider
        self._seed, self._chance = seed, random.Random(f"{seed} {provider} {scenario.name}")
        self._found: list[str] = []
        #: Of every point that was crashed at, how many effects its recovery had.
        self._recoveries: dict[Point, int] = {}

    def everywhere(self, only: int | None = None, most: int | None = None) -> Tally:
        """Crash in every place, or in so many by the seed; ``only``: on both sides of one effect.

        A place lies between two effects, so it has two names: after one, and before the next.
        Which side of it a worker dies at is drawn.
        """
        effects = self._recorded()
        points = self._places(len(effects)) if only is None else list(_both_sides(only))
        if most is not None:
            points = self._drawn(points, most)
        for point in points:
            self._crash(effects, point)
        second = self._drawn(list(self._recoveries), SECOND_CRASHES)
        for point in second:
            self._crash_again(effects, point)
        able = [point for point in points if _may_pause(effects, point)]
        pauses = self._drawn(able, PAUSES if self._scenario.may_pause else 0)
        for point in pauses:
            self._pause(effects, replace(point, stops=True))
        if self._found:
            pytest.fail("\n".join(self._found[:40]), pytrace=False)
        return Tally(
            effects=len(effects), places=len(points), second=len(second), pauses=len(pauses)
        )

    def _places(self, effects: int) -> list[Point]:
        sides = [
            self._chance.choice([Point(number=number, side="after"), Point(number=number + 1)])
            for number in range(1, effects)
        ]
        return [Point(number=1), *sides, Point(number=effects, side="after")]

    def _drawn(self, points: list[Point], most: int) -> list[Point]:
        return self._chance.sample(points, min(most, len(points)))

    def _recorded(self) -> list[str]:
        """The effects of the steps that are cut, which are the same in every run."""
        if self._scenario.cold or self._provider not in self._bench.warm:
            self._story().warm()
        effects = self._run()
        again = self._story().begin()["effects"]
        assert effects == again, f"two runs differ, no point can be named: {effects} {again}"
        for beginning, times in self._scenario.sees.items():
            seen = sum(label.startswith(beginning) for label in effects)
            assert seen >= times, f"{beginning!r} was seen {seen} times, not {times}: {effects}"
        return effects

    def _run(self) -> list[str]:
        """Nobody dies."""
        story = self._story()
        told = story.begin()
        assert told["code"] == 0
        if story.locked():
            self._note("nobody died", ["the order's lock was not released"])
        report = self._recover(story, Point(number=0))
        self._note("nobody died", breaches(self._bench, story, self._scenario, report))
        return list(told["effects"])

    def _story(self) -> Story:
        return Story(self._bench, self._scenario, self._provider)

    def _died(self, effects: list[str], point: Point) -> Story:
        """A story whose worker has come to its point."""
        story = self._story()
        told = story.begin(point)
        assert told["code"] in (CRASHED, None), f"{self._name(effects, point)} was not reached"
        expected = effects[point.number - 1]
        assert told["at"] == expected, f"{told['at']} is where {expected} was"
        return story

    def _crash(self, effects: list[str], point: Point) -> None:
        story = self._died(effects, point)
        report = self._recover(story, point)
        self._recoveries[point] = len(report["effects"])
        found = breaches(self._bench, story, self._scenario, report)
        self._note(self._name(effects, point), found)

    def _crash_again(self, effects: list[str], point: Point) -> None:
        """Who recovers dies as well, anywhere."""
        story = self._died(effects, point)
        again = Point(number=self._chance.randint(1, max(1, self._recoveries[point])))
        report = self._recover(story, point, again)
        found = breaches(self._bench, story, self._scenario, report)
        self._note(f"{self._name(effects, point)}, then {again.number} of its recovery", found)

    def _pause(self, effects: list[str], point: Point) -> None:
        """The worker is not dead; it goes on when the others have finished."""
        story = self._died(effects, point)
        self._recover(story, point)
        story.resume()
        report = self._recover(story, point)
        found = breaches(self._bench, story, self._scenario, report)
        self._note(f"{self._name(effects, point)}, where it only paused", found)

    def _recover(self, story: Story, point: Point, dies: Point | None = None) -> Any:
        """Fresh processes do what is left, without the dead one's lock and before that with it."""
        while story.locked():
            sent = story.sent()
            story.play(_LOCKED)
            if story.sent() != sent:
                self._note(f"after effect {point.number}", ["sent in spite of the lock"])
            story.let_locks_expire()
        steps = [*self._repeated(story, point), ("recover", {})]
        if dies is not None:
            told = story.play(steps, dies)
            return told if told["code"] == 0 else self._recover(story, point)
        report = story.play(steps)
        if self._scenario.told and story.await_told():
            report = story.play([*story.heard(), ("recover", {})])
        return report

    def _repeated(self, story: Story, point: Point) -> Iterator[Step]:
        """What comes again to a worker that did not acknowledge it, or is lost with the broker."""
        asked = [step for step in self._scenario.cut if step[0] in (*ASKING, "resubmit")]
        if asked and (point.side == "after" or not story.accepted()):
            yield from asked
        if point.side == "before":
            yield "lose_messages", {}
        yield from story.heard()

    def _name(self, effects: list[str], point: Point) -> str:
        return f"point {point.number} of {len(effects)}, {point.side} {effects[point.number - 1]!r}"

    def _note(self, where: str, found: list[str]) -> None:
        what = f"{self._provider}, {self._scenario.name!r}, seed {self._seed}: {where}"
        self._found += [f"{what}: {one}" for one in found]


def _both_sides(number: int) -> tuple[Point, Point]:
    return Point(number=number), Point(number=number, side="after")


def _may_pause(effects: list[str], point: Point) -> bool:
    """Not with a transaction open, which others would wait for; nor between gate and last byte.

    Who is paused there beyond every deadline is outside of what is promised.
    """
    label, before = effects[point.number - 1], point.side == "before"
    if label.startswith(("commit", "send: head")):
        return label.startswith("commit") and not before
    if label.startswith("send: body"):
        return not before
    return label != "gate" or before
