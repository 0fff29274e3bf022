"""Rate limits, shared by every gateway through Redis: protection, not safety."""

import ipaddress
import math
import time
from typing import Final

import limits
import redis
import structlog
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway.problems import Problem

_log = structlog.get_logger(__name__)

#: Of one provider's address: a batch that ends at once, many times over.
CALLBACKS_OF_ADDRESS: Final = limits.parse("600/minute")
#: Of one account, from wherever: what a stranger with many addresses may make us check.
CALLBACKS_OF_ACCOUNT: Final = limits.parse("1200/minute")
#: Redis is next door; who waits longer for a courtesy keeps money waiting.
_TIMEOUT_S: Final = 0.25
#: A Redis that was away is not asked again for so long.
_REST_S: Final = 5.0
#: The half of an IPv6 address that one customer has.
_IPV6_PREFIX: Final = 64


class Rates:
    """Counts requests; a Redis that is away lets everybody through."""

    def __init__(self, url: str, of_token: str) -> None:
        self._of_token = limits.parse(of_token)
        self._storage = RedisStorage(
            url.replace("unix://", "redis+unix://"),
            key_prefix="refundry:rate",
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # type: ignore[arg-type]  # it takes what Redis takes
        )
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._rests_until = 0.0

    def count_request(self, token: str) -> None:
        """One of the API's requests. Raises Problem when there were too many."""
        self._count(self._of_token, "token", token)

    def count_callback(self, address: str, account: str) -> None:
        """One callback; one that its address may not send is not counted for the account."""
        self._count(CALLBACKS_OF_ADDRESS, "address", _network(address))
        self._count(CALLBACKS_OF_ACCOUNT, "account", account)

    def redis_answers(self) -> bool:
        """Whether Redis is there."""
        return bool(self._storage.check())

    def close(self) -> None:
        """Close the kept connections."""
        self._storage.storage.close()

    def _count(self, limit: limits.RateLimitItem, *key: str) -> None:
        if time.monotonic() < self._rests_until:
            return
        try:
            if self._limiter.hit(limit, *key):
                return
            reset_at = self._limiter.get_window_stats(limit, *key).reset_time
        except redis.RedisError as error:
            self._rests_until = time.monotonic() + _REST_S
            _log.warning("rates.redis_away", error=str(error))
            return
        wait_s = max(1, math.ceil(reset_at - time.time()))
        detail = f"more than {limit} of this {key[0]}; come back in {wait_s} s"
        raise Problem(429, "too_many_requests", detail, headers={"Retry-After": str(wait_s)})


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, _IPV6_PREFIX), strict=False))
