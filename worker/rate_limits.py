"""Rate limits in Redis, shared by all workers: they spare a provider, safety does not rest on them.

Submissions and questions of an account are counted each by themselves, in a moving window of the
workers' clocks. A Redis that is away limits nobody; one that is flushed forgets a window.
"""

import random
import time

import structlog
from limits import RateLimitItem, parse
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from config.accounts import Account
from worker.redis_client import open_redis

_log = structlog.get_logger(__name__)


class RateLimits:
    """The rate limits of all accounts, in one Redis."""

    def __init__(self, url: str) -> None:
        self._redis = open_redis(url)
        pool = self._redis.connection_pool
        self._storage = RedisStorage(url, connection_pool=pool, key_prefix="refundry:limit")
        self._windows = MovingWindowRateLimiter(self._storage)

    def take(self, account: Account) -> float:
        """Take a place for one submission: 0, or for how many seconds there is none."""
        if account.rate_limit is None:
            return 0.0
        limit = parse(account.rate_limit)
        try:
            if self._windows.hit(limit, "submissions", account.name):
                return 0.0
            return self._room_in_s(limit, account.name)
        except RedisError as error:
            _warn(account, error)
            return 0.0

    def take_up_to(self, account: Account, wanted: int) -> int:
        """Take places for so many questions; how many there were."""
        if account.rate_limit is None or not wanted:
            return wanted
        limit, key = parse(account.rate_limit), ("questions", account.name)
        try:
            places = min(wanted, self._windows.get_window_stats(limit, *key).remaining)
            taken = places > 0 and self._windows.hit(limit, *key, cost=places)
            return places if taken else 0  # another was faster; the next tick asks again
        except RedisError as error:
            _warn(account, error)
            return wanted

    def _room_in_s(self, limit: RateLimitItem, name: str) -> float:
        """Seconds until there is room, later for each that waits, so that they come one by one."""
        window_s = limit.get_expiry()
        reset_at = self._windows.get_window_stats(limit, "submissions", name).reset_time
        before = self._storage.incr(limit.key_for("waiting", name), window_s) - 1
        apart_s = window_s / limit.amount
        return max(0.0, reset_at - time.time()) + (before + random.random()) * apart_s

    def close(self) -> None:
        """Close the kept connections."""
        self._redis.close()


def _warn(account: Account, error: RedisError) -> None:
    _log.warning("rate_limit.redis_away", account=account.name, error=str(error))
