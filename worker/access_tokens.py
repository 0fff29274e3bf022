"""Access tokens in Redis: one for all workers, renewed by one of them while the others go on.

A token lives in Redis as long as at its provider, so no worker's clock decides; at 80 % of its life
whoever takes the lock renews it. A provider hands out so many an hour: every call for one takes a
place in a moving window, and after one that failed nobody asks for a while, so that an outage does
not use the hour up. Without a token nothing is sent. None is ever logged or put into an error.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from limits import RateLimitItemPerHour
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import LockError, RedisError

from config.accounts import Account
from worker.errors import NoAnswer, NotLetIn, NotSent
from worker.providers.base import Token, Tokened
from worker.providers.http import Wire
from worker.redis_client import open_redis

_log = structlog.get_logger(__name__)

#: From this part of its life on a token is renewed.
_RENEW_AT: Final = 0.8
#: Who waits for another worker's token looks so often.
_LOOK_EVERY_S: Final = 0.05
#: What a lock lives longer than the call it is held for.
_LOCK_MARGIN_S: Final = 5.0
#: The rest after a call that gave no token: a second, doubled each time, up to twice the time
#: that the places of an hour are apart.
_FIRST_REST_S: Final = 1.0
_HOUR_S: Final = 3600.0
#: Forgets a token, unless another has taken its place.
_FORGET: Final = """
if redis.call('HGET', KEYS[1], 'value') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    value: str = field(repr=False)
    #: It should be renewed; until then it is still good.
    ageing: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Desk:
    """Where one merchant's token is kept and made."""

    account: Account
    provider: Tokened
    wire: Wire

    @property
    def key(self) -> str:
        """Where the token is in Redis."""
        return _key(self.account, self.provider)


def _key(account: Account, provider: Tokened) -> str:
    """Accounts of one merchant share a token, which is good where it was made."""
    return f"refundry:token:{provider.merchant}@{account.base_url}"


class Tokens:
    """The access tokens of all accounts, in one Redis."""

    def __init__(self, url: str) -> None:
        self._redis = open_redis(url)
        pool = self._redis.connection_pool
        storage = RedisStorage(url, connection_pool=pool, key_prefix="refundry:limit")
        self._windows = MovingWindowRateLimiter(storage)
        self._forget = self._redis.register_script(_FORGET)

    def get(self, account: Account, provider: Tokened, wire: Wire) -> str:
        """The account's token, made anew if there is none.

        Raises:
            NotSent: there is none, and none can be made now; the call was not sent.
            NotLetIn: a kind of it: the provider says that the account is set up wrongly.
        """
        try:
            return self._get(_Desk(account=account, provider=provider, wire=wire))
        except RedisError as error:
            raise NotSent(
                f"no access token: Redis does not answer ({type(error).__name__})"
            ) from None

    def refused(self, account: Account, provider: Tokened, token: str) -> None:
        """The provider did not take it: forget it, unless there is another one by now."""
        try:
            self._forget(keys=[_key(account, provider)], args=[token])
        except RedisError as error:
            _log.warning("tokens.redis_away", account=account.name, error=type(error).__name__)

    def close(self) -> None:
        """Close the kept connections."""
        self._redis.close()

    def _get(self, desk: _Desk) -> str:
        give_up_at = time.monotonic() + desk.account.send_deadline_s
        while True:
            kept = self._kept(desk)
            if kept is not None and not kept.ageing:
                return kept.value
            made = self._renew(desk, kept) if kept else self._make_alone(desk)
            if made is not None:
                return made
            if time.monotonic() >= give_up_at:
                raise NotSent("no access token: another worker is still asking for one")
            time.sleep(_LOOK_EVERY_S)

    def _kept(self, desk: _Desk) -> _Kept | None:
        pipeline = self._redis.pipeline()
        pipeline.hmget(desk.key, "value", "life_ms")
        pipeline.pttl(desk.key)
        (value, life_ms), left_ms = pipeline.execute()
        if value is None or life_ms is None:
            return None
        ageing = left_ms < int(life_ms) * (1 - _RENEW_AT)
        return _Kept(value=value.decode(), ageing=ageing)

    def _renew(self, desk: _Desk, kept: _Kept) -> str:
        """A new token; the old one while another worker is at it, or where that failed."""
        try:
            return self._make_alone(desk) or kept.value
        except NotSent as error:
            _log.warning("tokens.not_renewed", account=desk.account.name, error=str(error))
            return kept.value

    def _make_alone(self, desk: _Desk) -> str | None:
        """A new token, or the one that was made while the lock was taken; None: another is at it.

        Raises:
            NotSent: the provider gave none.
        """
        with self._alone(desk) as mine:
            if not mine:
                return None
            kept = self._kept(desk)
            if kept is not None and not kept.ageing:
                return kept.value
            return self._make(desk)

    @contextmanager
    def _alone(self, desk: _Desk) -> Iterator[bool]:
        life_s = desk.account.total_timeout_s + _LOCK_MARGIN_S
        lock = self._redis.lock(
            f"{desk.key}:lock", timeout=life_s, blocking=False, thread_local=False
        )
        mine = bool(lock.acquire())
        try:
            yield mine
        finally:
            if mine:
                _release(lock)

    def _make(self, desk: _Desk) -> str:
        self._refuse_while_resting(desk)
        began = time.monotonic()
        try:
            answer = desk.wire.post(desk.provider.token_call(), lambda: self._take_place(desk))
            token = desk.provider.read_token(answer)
        except NotLetIn:
            self._rest(desk)
            raise
        except (NotSent, NoAnswer) as error:
            self._rest(desk)
            kind = type(error) if isinstance(error, NotSent) else NotSent
            raise kind(f"no access token: {error}") from error
        self._keep(desk, token, time.monotonic() - began)
        return token.value

    def _take_place(self, desk: _Desk) -> None:
        """The gate of a call for a token: what is not sent takes no place of the hour."""
        most = desk.provider.tokens_an_hour
        if not self._windows.hit(RateLimitItemPerHour(most), desk.key):
            raise NotSent(f"the {most} tokens an hour that the provider hands out are used up")

    def _keep(self, desk: _Desk, token: Token, age_s: float) -> None:
        life_ms = token.expires_in_s * 1000
        pipeline = self._redis.pipeline()
        pipeline.hset(desk.key, mapping={"value": token.value, "life_ms": life_ms})
        pipeline.pexpire(desk.key, max(1, life_ms - int(age_s * 1000)))
        pipeline.delete(f"{desk.key}:rest", f"{desk.key}:failures")
        pipeline.execute()
        _log.info("tokens.made", account=desk.account.name, expires_in_s=token.expires_in_s)

    def _rest(self, desk: _Desk) -> None:
        failures: Any = self._redis.incr(f"{desk.key}:failures")
        most_s = 2 * _HOUR_S / desk.provider.tokens_an_hour
        rest_s = min(_FIRST_REST_S * 2 ** min(int(failures) - 1, 30), most_s)
        pipeline = self._redis.pipeline()
        pipeline.set(f"{desk.key}:rest", "1", px=int(rest_s * 1000))
        pipeline.expire(f"{desk.key}:failures", int(_HOUR_S))
        pipeline.execute()

    def _refuse_while_resting(self, desk: _Desk) -> None:
        left_ms: Any = self._redis.pttl(f"{desk.key}:rest")
        if int(left_ms) > 0:
            raise NotSent(
                f"no access token: the last call for one failed, the next is in {left_ms} ms"
            )


def _release(lock: Any) -> None:
    try:
        lock.release()
    except LockError:
        _log.warning("tokens.lock_expired", lock=str(lock.name))
