"""Beat goes by a clock that nobody sets."""

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from celery import Celery

from tasks.beat import SteadyScheduler

NAMES = {"one", "two", "three"}


class Noting(SteadyScheduler):
    """Notes what it would send."""

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        sent.append(entry.name)


sent: list[str] = []


@pytest.fixture
def scheduler() -> Noting:
    sent.clear()
    app = Celery("beat", broker="memory://", set_as_current=False)
    app.conf.beat_schedule = {name: {"task": name, "schedule": 0.05} for name in NAMES}
    return Noting(app=app)


def tick(scheduler: Noting, seconds: float = 0.3) -> None:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        time.sleep(min(scheduler.tick(), 0.05))


def test_a_wall_clock_that_was_ahead_keeps_no_tick_back(scheduler: Noting) -> None:
    for entry in scheduler.schedule.values():
        entry.last_run_at = datetime.now(UTC) + timedelta(hours=1)
    tick(scheduler)
    assert {name: sent.count(name) >= 3 for name in NAMES} == dict.fromkeys(NAMES, True)
    assert len(sent) <= 3 * 8


def test_a_wall_clock_that_steps_back_keeps_no_tick_back(
    scheduler: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(scheduler, 0.1)
    sent.clear()
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() - 3600)
    tick(scheduler)
    assert {name: sent.count(name) >= 3 for name in NAMES} == dict.fromkeys(NAMES, True)


def test_no_two_ticks_come_at_once(scheduler: Noting) -> None:
    scheduler.populate_heap()
    times = sorted(event.time for event in scheduler._heap)
    assert [later - earlier >= 0.05 / 3 - 0.001 for earlier, later in pairwise(times)] == [True] * 2
    assert times[-1] < time.monotonic() + 2 * 0.05
