"""The threads that post announcements: bounded in all, and for one receiver."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

#: Rounds under way at once in a process; apart from the threads that ask providers.
COURIERS: Final = 16
#: Rounds to one receiver at once, so that eight that hang leave nobody without a courier.
PER_RECEIVER: Final = 2


class Couriers:
    """Starts rounds, and knows how many are under way to whom."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(COURIERS, thread_name_prefix="courier")
        self._counting = threading.Lock()
        self._under_way: Counter[str] = Counter()
        #: Held by the tick that hands out rounds, so that two never count the same free courier.
        self.handing_out = threading.Lock()

    @property
    def free(self) -> int:
        """How many rounds can start right now."""
        with self._counting:
            return COURIERS - self._under_way.total()

    @property
    def full(self) -> list[str]:
        """Receivers that no further round goes to now."""
        with self._counting:
            return [who for who, rounds in self._under_way.items() if rounds >= PER_RECEIVER]

    def start(self, receiver: str, run: Callable[[], None]) -> Future[None]:
        """Start a round; the caller has seen that a courier is free."""
        with self._counting:
            self._under_way[receiver] += 1
        return self._pool.submit(self._go, receiver, run)

    def close(self) -> None:
        """Wait for the rounds under way; no others start."""
        self._pool.shutdown()

    def _go(self, receiver: str, run: Callable[[], None]) -> None:
        try:
            run()
        finally:
            with self._counting:
                self._under_way[receiver] -= 1
                self._under_way += Counter()  # drops the zeros
