"""Celery's scheduler by a clock that nobody sets.

Its own one goes by the wall clock: after a step back it is silent until the old time is reached.
"""

import time
from heapq import heapify
from typing import Any

from celery.beat import Scheduler
from celery.schedules import schedstate


class SteadyScheduler(Scheduler):  # type: ignore[misc]  # Celery has no types
    """Ticks by the monotonic clock. It remembers nothing: the ledger knows what is due."""

    def install_default_entries(self, _data: Any) -> None:
        """Celery's own one clears away results, and there are none."""

    def populate_heap(self, *_: Any, **__: Any) -> None:
        """Celery's own begins all entries at once, and a job that comes then waits for them all."""
        super().populate_heap()
        heap: list[Any] = self._heap
        for number, event in enumerate(heap):
            later_s = _every_s(event.entry) * number / len(heap)
            heap[number] = event._replace(time=event.time + later_s)
        heapify(heap)

    def is_due(self, entry: Any) -> Any:
        """Only asked about an entry whose time has come."""
        return schedstate(is_due=True, next=_every_s(entry))

    def _when(self, entry: Any, next_time_to_run: float, **_: Any) -> float:
        return time.monotonic() + min(next_time_to_run, _every_s(entry))


def _every_s(entry: Any) -> float:
    every: float = entry.schedule.run_every.total_seconds()
    return every
