"""When to ask again, when to send again, when to involve a person: pure.

Jitter only adds, so that no wait is ever shorter than the protocol says.
"""

import random
from datetime import datetime, timedelta
from typing import Final

from config.accounts import Account
from refundry.fields import SHANGHAI

DAY: Final = timedelta(days=1)
#: Never sent or busy: 1 s, doubled each time up to 5 minutes.
SEND_BACKOFF_S: Final = 1.0
SEND_BACKOFF_MAX_S: Final = 300.0
#: A balance is not filled in seconds: a quarter of an hour, doubled each time up to four hours.
FUNDS_WAIT_S: Final = 900.0
FUNDS_WAIT_MAX_S: Final = 4 * 3600.0
#: Announcements: 2 s, doubled each time up to an hour.
ANNOUNCE_BACKOFF_S: Final = 2.0
ANNOUNCE_BACKOFF_MAX_S: Final = 3600.0
#: A failed refund is asked about again after an hour and after a day.
FAILED_WATCH: Final = (timedelta(hours=1), DAY)
#: An order is held while something of minutes is under way.
HELD_TOO_LONG: Final = timedelta(hours=1)
_JITTER: Final = 0.1


def _waits(seconds: float) -> timedelta:
    return timedelta(seconds=seconds * (1 + random.random() * _JITTER))


def _doubled(first_s: float, times: int, most_s: float) -> float:
    return float(min(first_s * 2 ** min(times, 30), most_s))


def next_question(account: Account, asked: int, age: timedelta, now: datetime) -> datetime:
    """When to ask about an open refund, asked about ``asked`` times, ``age`` after intake."""
    schedule = account.poll_schedule_s
    if asked < len(schedule):
        wait = schedule[asked]
    elif age < account.scaled(1) * DAY:
        wait = schedule[-1]
    else:
        wait = 3600.0 if age < account.scaled(7) * DAY else 6 * 3600.0
    return now + _waits(account.scaled(wait))


def earliest_question(account: Account, wait_s: float, began_at: datetime) -> datetime:
    """From when a provider may be asked about what T1 began, whatever the schedule says."""
    return began_at + timedelta(seconds=account.scaled(wait_s))


def next_send(account: Account, tries: int, now: datetime) -> datetime:
    """When to try again what was provably not sent, or not taken, ``tries`` times."""
    wait = _doubled(SEND_BACKOFF_S, tries, SEND_BACKOFF_MAX_S)
    return now + _waits(account.scaled(wait))


def after_funds(account: Account, waits: int, now: datetime) -> datetime:
    """When to send again what the balance was short of, and ``waits`` times before."""
    wait = _doubled(FUNDS_WAIT_S, waits, FUNDS_WAIT_MAX_S)
    return now + _waits(account.scaled(wait))


def next_announcement(tries: int, now: datetime) -> datetime:
    """When to deliver an announcement again that was not taken ``tries`` times."""
    return now + _waits(_doubled(ANNOUNCE_BACKOFF_S, tries, ANNOUNCE_BACKOFF_MAX_S))


def next_watch_of_failure(final_at: datetime, now: datetime) -> datetime | None:
    """When to ask about a failed refund again; None: no more."""
    return next((final_at + after for after in FAILED_WATCH if final_at + after > now), None)


def next_watch_of_success(final_at: datetime, watch_days: int, now: datetime) -> datetime | None:
    """When to ask about a succeeded refund again, once a day; None: no more."""
    due = now + DAY
    return due if due <= final_at + watch_days * DAY else None


def window_end(paid_at: datetime, years: int) -> datetime:
    """The last moment of a provider's window: so many years later by Shanghai's calendar.

    After a 29 February it is the 28th.
    """
    paid = paid_at.astimezone(SHANGHAI)
    try:
        return paid.replace(year=paid.year + years)
    except ValueError:
        return paid.replace(year=paid.year + years, day=28)


def person_due(account: Account, *, pending: bool, now: datetime) -> datetime:
    """When an open refund has been open for too long: a day, or a week once accepted."""
    return now + account.scaled(7 if pending else 1) * DAY


def person_due_of_hold(held_at: datetime, account: Account | None) -> datetime:
    """When a person should look at a held order: after an hour."""
    return held_at + (account.scaled(1) if account else 1) * HELD_TOO_LONG
