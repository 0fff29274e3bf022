"""The per-order lock in Redis: keeps two workers from doing the same work, nothing more.

Safety rests on the ledger (``uq_refunds_holds_order`` and the order's row lock); the lock may
expire, be lost or be away at any time. It carries an owner's token, so nobody frees another's.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from redis.exceptions import LockError, RedisError
from redis.lock import Lock

from worker.redis_client import open_redis

_log = structlog.get_logger(__name__)


class OrderLocks:
    """Hands out the locks of one Redis."""

    def __init__(self, url: str) -> None:
        self._redis = open_redis(url)

    @contextmanager
    def try_hold(self, order_id: int, ttl_s: float) -> Iterator[bool]:
        """Take the order's lock without waiting; yields whether this worker may go on.

        A Redis that is away stops nobody: the ledger is the guard.
        """
        lock = self._redis.lock(
            f"refundry:order:{order_id}", timeout=ttl_s, blocking=False, thread_local=False
        )
        held = _acquire(lock)
        try:
            yield held is not False
        finally:
            if held:
                _release(lock)

    def ping(self) -> None:
        """Ask Redis whether it is there. Raises RedisError."""
        self._redis.ping()

    def close(self) -> None:
        """Close the kept connections."""
        self._redis.close()


def _acquire(lock: Lock) -> bool | None:
    """True: held; False: somebody else's; None: Redis is away."""
    try:
        return bool(lock.acquire())
    except RedisError as error:
        _log.warning("order_lock.redis_away", error=str(error))
        return None


def _release(lock: Lock) -> None:
    try:
        lock.release()
    except LockError:
        _log.warning("order_lock.expired", lock=str(lock.name))
    except RedisError as error:
        _log.warning("order_lock.redis_away", error=str(error))
