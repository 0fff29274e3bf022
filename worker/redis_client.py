"""The connection to the Redis that the workers share: locks, access tokens, rate limits."""

from typing import Final

import redis

#: Redis is next door; who waits longer for it does better without.
_TIMEOUT_S: Final = 2.0
#: A connection that was idle for longer is tried before it is used.
_CHECK_AFTER_S: Final = 30


def open_redis(url: str) -> redis.Redis:
    """A client whose waits are bounded; closing it closes its connections."""
    return redis.Redis.from_url(
        url,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        health_check_interval=_CHECK_AFTER_S,
    )
