"""Lots: what several threads of a process want done at one time is done together.

Whoever finds nobody at work leads: it does what it came for, hands over to the first of those who
have come meanwhile, who leads all of them, and so on. Nobody waits for a lot to fill; the more
there is to do, the larger they are. It is what databases call a group commit.

What a lot could not do, each of its threads does alone: a lot never waits for a row that somebody
has locked, and what is wrong with one of its members is nobody else's affair. Only a crowd that
waits for one and the same row waits together, so that it is not in the way of whoever works on it.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Any, Final, Generic, TypeVar

import structlog

_log = structlog.get_logger(__name__)

#: What one lot takes at most.
MOST: Final = 64

Item = TypeVar("Item")
Result = TypeVar("Result")


class Undone(Enum):
    """What a lot answers for a member that has to be done alone."""

    UNDONE = "undone"


UNDONE: Final = Undone.UNDONE

#: Does all of them, or raises and has done none. If it is told to be patient it waits for whatever
#: somebody has locked, and leaves nothing undone.
Together = Callable[[list[Item], bool], Sequence[Result | Undone]]


def _held_lock() -> threading.Lock:
    """What one thread waits for once: an event costs several times as much."""
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(eq=False, slots=True)
class _Place(Generic[Item, Result]):
    """One thread's place in the queue."""

    item: Item
    #: No two of one key are in one lot.
    key: Hashable
    #: Held until the thread is told to lead, or what became of its item.
    turn: threading.Lock = field(default_factory=_held_lock)
    leads: bool = False
    result: Result | Undone = UNDONE
    error: BaseException | None = None


class Lane(Generic[Item, Result]):
    """The lots of one kind, one after the other."""

    def __init__(self, together: Together[Item, Result]) -> None:
        self._together = together
        self._waiting: deque[_Place[Item, Result]] = deque()
        self._changing = threading.Lock()
        self._is_led = False
        #: Those who wait for one thing, and how many they are.
        self._crowds: dict[Hashable, tuple[Lane[Item, Result], int]] = {}

    def do(
        self, item: Item, key: Hashable, crowd: Hashable = None, *, first: bool = False
    ) -> Result:
        """Have an item done with what comes at the same time; raises what it alone would raise.

        Args:
            item: what is to be done.
            key: no two of one key are in one lot.
            crowd: what it may have to wait for, if others that wait for that can go with it.
            first: goes before those who wait already.
        """
        place: _Place[Item, Result] = _Place(item, key)
        with self._changing:
            self._queue_up(place, first)
            place.leads, self._is_led = not self._is_led, True
        if not place.leads:
            place.turn.acquire()
        if place.leads:
            self._lead()
        if place.error is not None:
            raise place.error
        if place.result is not UNDONE:
            return place.result
        return self._alone(item) if crowd is None else self._in_crowd(item, key, crowd)

    def _queue_up(self, place: _Place[Item, Result], first: bool) -> None:
        """Before all others, but for one who has been told already to lead the next lot."""
        if first:
            self._waiting.insert(sum(one.leads for one in islice(self._waiting, 1)), place)
        else:
            self._waiting.append(place)

    def _in_crowd(self, item: Item, key: Hashable, crowd: Hashable) -> Result:
        with self._changing:
            lane, members = self._crowds.get(crowd) or (Lane(self._patiently), 0)
            self._crowds[crowd] = lane, members + 1
        try:
            return lane.do(item, key)
        finally:
            with self._changing:
                lane, members = self._crowds.pop(crowd)
                if members > 1:
                    self._crowds[crowd] = lane, members - 1

    def _patiently(self, items: list[Item], _: bool) -> Sequence[Result | Undone]:
        return self._together(items, True)

    def _alone(self, item: Item) -> Result:
        (result,) = self._together([item], True)
        assert result is not UNDONE
        return result

    def _lead(self) -> None:
        """Do the first lot that waits, one's own, and hand over; one's own place is its first."""
        lot = self._taken()
        try:
            results = self._together([place.item for place in lot], False)
            for place, result in zip(lot, results, strict=True):
                place.result = result
        except BaseException as error:
            if len(lot) == 1 or not isinstance(error, Exception):
                lot[0].error = error
            else:
                _log.info("lots.undone", members=len(lot), error=type(error).__name__)
        finally:
            self._hand_over(lot)

    def _taken(self) -> list[_Place[Item, Result]]:
        """The first who wait, as far as they go together; the others keep their places."""
        lot: dict[Hashable, _Place[Item, Result]] = {}
        with self._changing:
            kept = []
            while self._waiting and len(lot) < MOST:
                place = self._waiting.popleft()
                if lot.setdefault(place.key, place) is not place:
                    kept.append(place)
            self._waiting.extendleft(reversed(kept))
        return list(lot.values())

    def _hand_over(self, lot: list[_Place[Item, Result]]) -> None:
        with self._changing:
            self._is_led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].turn.release()
        for place in lot[1:]:
            place.turn.release()


class Lanes:
    """A process' lanes, each made when it is first needed."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, Lane[Any, Any]] = {}
        self._making = threading.Lock()

    def get(self, name: Hashable, together: Together[Item, Result]) -> Lane[Item, Result]:
        """The lane of that name; ``together`` is what it does."""
        lane = self._lanes.get(name)
        if lane is None:
            with self._making:
                lane = self._lanes.setdefault(name, Lane(together))
        return lane
