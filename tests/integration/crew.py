"""Workers as threads over one ledger and one Redis, by the real clock: sweeps, polls, submits."""

import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import Empty, Queue

from tests.integration.builders import Shop
from worker.ledger.engine import SQLITE_WAIT_S, Ledger
from worker.runtime import Runtime
from worker.steps.poll import poll
from worker.steps.submit import submit
from worker.steps.sweep import sweep

#: Ticks come faster than beat's, so that tests are short.
TICK_S = 0.1
#: Threads that submit, of each worker.
SUBMITTERS = 4


class Crew:
    """The threads of some workers, and the messages between them."""

    def __init__(self, wake: Iterable[int]) -> None:
        # not a SimpleQueue, whose get may wait for ever in CPython 3.11, whatever its timeout
        self._messages: Queue[int] = Queue()
        for order_id in wake:
            self._messages.put(order_id)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.faults: list[BaseException] = []

    def hire(self, runtime: Runtime) -> None:
        """A worker: its submitters, and its ticks."""
        for work in [self._tick] + [self._submit] * SUBMITTERS:
            thread = threading.Thread(target=self._safely, args=(work, runtime))
            thread.start()
            self._threads.append(thread)

    def dismiss(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=3 * SQLITE_WAIT_S)  # it may wait for its turn to write
            assert not thread.is_alive(), "".join(_places(self._threads))

    def _safely(self, work: Callable[[Runtime], None], runtime: Runtime) -> None:
        try:
            while not self._stop.is_set():
                work(runtime)
        except BaseException as error:
            self.faults.append(error)
            raise

    def _tick(self, runtime: Runtime) -> None:
        for order_id in [*sweep(runtime).wake, *poll(runtime).wake]:
            self._messages.put(order_id)
        self._stop.wait(TICK_S)

    def _submit(self, runtime: Runtime) -> None:
        try:
            order_id = self._messages.get(timeout=TICK_S)
        except Empty:
            return
        if submit(runtime, order_id):
            self._messages.put(order_id)


def _places(threads: Iterable[threading.Thread]) -> Iterator[str]:
    """Where each of the threads is that still run."""
    frames = sys._current_frames()
    for thread in threads:
        if thread.is_alive() and thread.ident in frames:
            yield f"{thread.name}:\n"
            yield from traceback.format_stack(frames[thread.ident])


def by_the_real_clock(shop: Shop) -> Shop:
    """The shop, its ledger's clock being the database's."""
    timed = Ledger(shop.runtime.ledger.engine)
    return replace(shop, runtime=replace(shop.runtime, ledger=timed))


@contextmanager
def at_work(shops: Iterable[Shop], wake: Iterable[int]) -> Iterator[None]:
    """A worker for each shop, until the end of the block; they begin with these orders."""
    crew = Crew(wake)
    try:
        for shop in shops:
            crew.hire(shop.runtime)
        yield
    finally:
        crew.dismiss()
    assert crew.faults == []
