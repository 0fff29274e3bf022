"""Workers that stop where they are told to: each in a thread, one of which runs at a time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from queue import SimpleQueue
from typing import Final

from worker.order_lock import OrderLocks

#: A thread that says nothing for so long hangs.
HANGS_S: Final = 60


class Crash(BaseException):
    """The worker dies where it is; nothing of it is let go."""


class Broken(BaseException):
    """A promise is broken, seen from within a worker; no step takes it for a fault of its call."""


class Point(StrEnum):
    """Where a worker stops."""

    LOCKED = "locked"  # it has the order's lock; before T1
    CLAIMED = "claimed"  # T1 is committed; before T2
    LET_THROUGH = "let through"  # T2 has passed; before the first byte
    SENT = "sent"  # the request is on its way, or answered; before T3
    SETTLED = "settled"  # T3 is committed; before it lets go of the lock
    ENDED = "ended"


class Puppet:
    """A worker."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.at = Point.ENDED
        #: The request that it waits for an answer to.
        self.number = ""
        self._orders: SimpleQueue[bool | Crash] = SimpleQueue()
        self._reports: SimpleQueue[Point | BaseException] = SimpleQueue()

    def start(self, work: Callable[[], object]) -> None:
        """Begin, up to the first point."""
        threading.Thread(target=self._run, args=(work,), daemon=True).start()
        self._listen()

    def go_on(self, *, cut: bool = False) -> None:
        """From one point to the next; the network may be cut meanwhile."""
        self._orders.put(cut)
        self._listen()

    def crash(self) -> None:
        self._orders.put(Crash())
        self._listen()

    def stop(self, at: Point, number: str = "") -> bool:
        """Called by the worker: wait to be told to go on; True: the network is cut."""
        self.number = number
        self._reports.put(at)
        order = self._orders.get()
        if isinstance(order, Crash):
            raise order
        return order

    def _run(self, work: Callable[[], object]) -> None:
        ON_STAGE.set(self)
        try:
            work()
        except Crash:
            self._reports.put(Point.ENDED)
        except BaseException as error:
            self._reports.put(error)
        else:
            self._reports.put(Point.ENDED)

    def _listen(self) -> None:
        report = self._reports.get(timeout=HANGS_S)
        self.at = report if isinstance(report, Point) else Point.ENDED
        if isinstance(report, Broken):
            raise AssertionError(str(report))
        if isinstance(report, BaseException):
            raise report


ON_STAGE: ContextVar[Puppet] = ContextVar("ON_STAGE")


class PuppetLocks(OrderLocks):
    """Order locks in memory, any of which may expire at any time."""

    def __init__(self) -> None:
        self.held: dict[int, object] = {}

    @contextmanager
    def try_hold(self, order_id: int, ttl_s: float) -> Iterator[bool]:
        if order_id in self.held:
            yield False
            return
        self.held[order_id] = mine = object()
        ON_STAGE.get().stop(Point.LOCKED)
        yield True  # what dies here lets go of nothing
        ON_STAGE.get().stop(Point.SETTLED)
        if self.held.get(order_id) is mine:
            del self.held[order_id]
