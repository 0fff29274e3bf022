"""Lots: threads that come at one time are served together, and none of them for another's sake."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
        while len(lane._waiting) + len(desk.lots[:1]) < len(keys) + 1:
            threading.Event().wait(0.001)
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
        while not lots or len(lane._crowds["row"][0]._waiting) < THREADS - 1:
            threading.Event().wait(0.001)
        may_go.set()
        assert [one.result() for one in given] == [10 * n for n in range(THREADS)]
    assert [len(lot) for lot in lots] == [1, THREADS - 1]
    assert lane._crowds == {}
