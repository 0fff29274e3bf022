"""Lots: threads that come at one time are served together, and none of them for another's sake."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.lots import MOST, UNDONE, Lane, Undone

THREADS = 16


class Desk:
    """What a lane does, and what it was asked; the first lot waits until all have come."""

    def __init__(self, *, fails: Callable[[list[Any], bool], bool] = lambda *_: False) -> None:
        self.lots: list[list[Any]] = []
        self.alone: list[Any] = []
        self.opened = threading.Event()
        self._fails = fails

    def together(self, items: list[Any], patient: bool) -> list[Any | Undone]:
        if patient:
            self.alone += items
        else:
            self.lots.append(items)
        self.opened.wait(20)
        if self._fails(items, patient):
            raise ValueError(items)
        return [-1 if item == "first" else item * 10 for item in items]


def all_at_once(desk: Desk, keys: list[Any]) -> list[Any]:
    """One thread leads a lot that does not end before all others wait; what each was given."""
    lane: Lane[Any, Any] = Lane(desk.together)
    with ThreadPoolExecutor(len(keys) + 1) as pool:
        first = pool.submit(lane.do, "first", "first")
        others = [pool.submit(lane.do, number, key) for number, key in enumerate(keys)]
        wait_until(lambda: len(lane._waiting) + len(desk.lots[:1]) == len(keys) + 1)
        desk.opened.set()
        first.exception()
        return [other.exception() or other.result() for other in others]


def test_what_comes_while_a_lot_is_done_is_done_in_the_next_one() -> None:
    desk = Desk()
    assert all_at_once(desk, list(range(THREADS))) == [10 * n for n in range(THREADS)]
    assert [len(lot) for lot in desk.lots] == [1, THREADS]


@given(keys=st.lists(st.integers(0, 3), min_size=1, max_size=THREADS))
@settings(max_examples=25, deadline=None)
def test_no_two_of_one_key_are_in_one_lot_and_those_of_one_key_go_in_turn(keys: list[int]) -> None:
    desk = Desk()
    assert all_at_once(desk, keys) == [10 * n for n in range(len(keys))]
    for lot in desk.lots[1:]:
        assert len({keys[number] for number in lot}) == len(lot)
    assert sorted(number for lot in desk.lots[1:] for number in lot) == list(range(len(keys)))


def test_who_goes_first_waits_for_the_lot_at_work_only() -> None:
    desk = Desk()
    lane: Lane[Any, Any] = Lane(desk.together)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(lane.do, "first", "first")]
        for number in (1, 2, 3):
            wait_until(lambda: len(lane._waiting) + len(desk.lots) == len(asked))
            asked.append(pool.submit(lane.do, number, "key", first=number == 3))
        wait_until(lambda: len(lane._waiting) == 3)
        desk.opened.set()
    assert desk.lots == [["first"], [3], [1], [2]]


class Interrupted(Lane[Any, Any]):
    """Before somebody takes the second lot, which is his own, another one comes who goes first."""

    def __init__(self, desk: Desk, pool: ThreadPoolExecutor) -> None:
        super().__init__(desk.together)
        self._desk, self._pool = desk, pool
        self.asked: list[Future[Any]] = []

    def _taken(self) -> list[Any]:
        if len(self._desk.lots) == 1:
            self.asked.append(self._pool.submit(self.do, 2, "key", first=True))
            wait_until(lambda: len(self._waiting) == 2)
        return super()._taken()


def test_who_has_been_told_to_lead_is_not_overtaken() -> None:
    desk = Desk()
    with ThreadPoolExecutor(3) as pool:
        lane = Interrupted(desk, pool)
        asked = [pool.submit(lane.do, "first", "first")]
        wait_until(lambda: len(desk.lots) == 1)
        asked.append(pool.submit(lane.do, 1, "key"))
        wait_until(lambda: len(lane._waiting) == 1)
        desk.opened.set()
        assert [one.result(20) for one in asked] == [-1, 10]
        assert lane.asked[0].result(20) == 20
    assert desk.lots == [["first"], [1], [2]]


def wait_until(check: Callable[[], bool]) -> None:
    while not check():
        threading.Event().wait(0.001)


def test_a_lot_has_an_end() -> None:
    desk = Desk()
    all_at_once(desk, list(range(MOST + 1)))
    assert [len(lot) for lot in desk.lots] == [1, MOST, 1]


def test_what_fails_together_is_done_alone_and_only_the_culprit_is_told() -> None:
    desk = Desk(fails=lambda items, _patient: 3 in items)
    results = all_at_once(desk, list(range(THREADS)))
    assert isinstance(results.pop(3), ValueError)
    assert results == [10 * n for n in range(THREADS) if n != 3]
    assert sorted(desk.alone) == list(range(THREADS))


def test_what_a_lot_leaves_undone_is_done_patiently() -> None:
    def together(items: list[int], patient: bool) -> list[int | Undone]:
        return [10 * item if patient else UNDONE for item in items]

    assert Lane(together).do(1, "key") == 10


def test_who_fails_alone_is_told_and_the_next_one_is_served() -> None:
    desk = Desk(fails=lambda items, _patient: items == [1])
    desk.opened.set()
    lane: Lane[Any, Any] = Lane(desk.together)
    with pytest.raises(ValueError, match="1"):
        lane.do(1, "key")
    assert desk.alone == []
    assert lane.do(2, "key") == 20


def test_a_thread_that_dies_leading_leaves_nobody_waiting() -> None:
    def die(items: list[Any], _patient: bool) -> bool:
        if "first" in items:
            raise SystemExit
        return False

    assert all_at_once(Desk(fails=die), [0, 1]) == [0, 10]


def test_a_crowd_that_waits_for_one_thing_waits_together_and_is_forgotten() -> None:
    lots: list[list[int]] = []
    may_go = threading.Event()

    def together(items: list[int], patient: bool) -> list[int | Undone]:
        if not patient:
            return [UNDONE] * len(items)
        lots.append(items)
        may_go.wait(20)
        return [10 * item for item in items]

    lane: Lane[int, int] = Lane(together)
    with ThreadPoolExecutor(THREADS) as pool:
        given = [pool.submit(lane.do, number, number, "row") for number in range(THREADS)]
        wait_until(lambda: lots != [] and len(lane._crowds["row"][0]._waiting) == THREADS - 1)
        may_go.set()
        assert [one.result() for one in given] == [10 * n for n in range(THREADS)]
    assert [len(lot) for lot in lots] == [1, THREADS - 1]
    assert lane._crowds == {}
