"""When the service asks again, sends again and involves a person."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.accounts import Account
from tests.unit.builders import NOW, account
from worker.schedule import (
    after_funds,
    earliest_question,
    next_announcement,
    next_question,
    next_send,
    next_watch_of_failure,
    next_watch_of_success,
    person_due,
)

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SCALES = st.sampled_from([1.0, 0.5, 0.01])
#: Jitter adds up to a tenth; times are kept in microseconds.
MOST = 1.1
TICK = timedelta(microseconds=2)


def in_time(wait: timedelta, wanted: timedelta) -> bool:
    """Whether a wait is what was wanted, or up to a tenth longer, and never shorter."""
    return wanted - TICK <= wait <= wanted * MOST + TICK


def waits(one: Account, until: timedelta) -> Iterator[tuple[timedelta, timedelta]]:
    """Age at each question, and the wait until the next, of a refund that never ends."""
    asked, age = 0, timedelta()
    while age < until:
        wait = next_question(one, asked, age, NOW + age) - (NOW + age)
        yield age, wait
        asked, age = asked + 1, age + wait


@given(SCALES)
def test_the_first_questions_come_after_minutes_then_ever_more_slowly(scale: float) -> None:
    minutes = [1, 1, 1, 1, 1, 1, 5, 10, 20, 30]
    one = account(time_scale=scale)
    first = [wait for _, wait in waits(one, 2 * HOUR * scale)]
    for wait, wanted in zip(first, minutes, strict=False):
        assert in_time(wait, wanted * MINUTE * scale)
    assert len(first) > len(minutes)


@given(SCALES)
def test_asking_goes_on_half_hourly_hourly_after_a_day_and_six_hourly_after_a_week(
    scale: float,
) -> None:
    seen = set()
    for number, (age, wait) in enumerate(waits(account(time_scale=scale), 30 * DAY * scale)):
        if number < 10:
            continue
        wanted = 6 * HOUR if age >= 7 * DAY * scale else HOUR if age >= DAY * scale else HOUR / 2
        assert in_time(wait, wanted * scale)
        seen.add(wanted)
    assert seen == {HOUR / 2, HOUR, 6 * HOUR}


@given(st.integers(0, 10**6), st.timedeltas(timedelta(), 3000 * DAY), SCALES)
def test_asking_never_stops(asked: int, age: timedelta, scale: float) -> None:
    wait = next_question(account(time_scale=scale), asked, age, NOW) - NOW
    assert timedelta() < wait <= 6 * HOUR * MOST * scale + TICK


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=5), st.integers(0, 8))
def test_an_accounts_own_schedule_replaces_the_minutes(schedule: list[float], asked: int) -> None:
    one = account(poll_schedule_s=schedule)
    wanted = timedelta(seconds=schedule[min(asked, len(schedule) - 1)])
    assert in_time(next_question(one, asked, MINUTE, NOW) - NOW, wanted)


@given(st.integers(0, 10**6), SCALES)
def test_sending_again_waits_twice_as_long_each_time_up_to_five_minutes(
    tries: int, scale: float
) -> None:
    wanted = timedelta(seconds=min(2 ** min(tries, 20), 300)) * scale
    assert in_time(next_send(account(time_scale=scale), tries, NOW) - NOW, wanted)


@given(st.integers(0, 10**6))
def test_announcing_again_waits_twice_as_long_each_time_up_to_an_hour(tries: int) -> None:
    wanted = timedelta(seconds=min(2 * 2 ** min(tries, 20), 3600))
    assert in_time(next_announcement(tries, NOW) - NOW, wanted)


@given(st.integers(0, 10**6), SCALES)
def test_a_short_balance_is_given_a_quarter_of_an_hour_then_twice_as_long_up_to_four_hours(
    waits: int, scale: float
) -> None:
    wanted = min(15 * 2 ** min(waits, 20), 240) * MINUTE * scale
    assert in_time(after_funds(account(time_scale=scale), waits, NOW) - NOW, wanted)


def test_jitter_spreads_the_waits() -> None:
    assert len({next_question(account(), 0, MINUTE, NOW) for _ in range(20)}) > 1


def test_a_failure_is_asked_about_again_after_an_hour_and_after_a_day_and_then_no_more() -> None:
    assert next_watch_of_failure(NOW, NOW) == NOW + HOUR
    assert next_watch_of_failure(NOW, NOW + HOUR) == NOW + DAY
    assert next_watch_of_failure(NOW, NOW + DAY) is None


@given(st.integers(0, 60))
def test_a_success_is_asked_about_daily_for_the_watched_days(days: int) -> None:
    times, now = [], NOW
    while (due := next_watch_of_success(NOW, days, now)) is not None:
        times.append(due)
        now = due
    assert times == [NOW + number * DAY for number in range(1, days + 1)]


@pytest.mark.parametrize(("pending", "days"), [(False, 1), (True, 7)])
@given(scale=SCALES)
def test_a_person_looks_after_a_day_or_a_week_once_accepted(
    pending: bool, days: int, scale: float
) -> None:
    assert (
        person_due(account(time_scale=scale), pending=pending, now=NOW) == NOW + days * DAY * scale
    )


@given(SCALES, st.integers(0, 600))
def test_a_provider_may_ask_for_time_before_the_first_question(scale: float, wait: int) -> None:
    earliest = earliest_question(account(time_scale=scale), wait, NOW)
    assert earliest == NOW + timedelta(seconds=wait * scale)
