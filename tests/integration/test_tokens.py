"""Access tokens on a real Valkey: one for many askers, renewed in time, never more than allowed."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
import structlog

from config.accounts import Account
from tests.integration.builders import NOWHERE, race
from tests.providers.harness import OWN_OPTIONS, Peer, RawServer, account
from worker.access_tokens import Tokens
from worker.errors import NotSent
from worker.providers.base import Tokened, load_provider
from worker.providers.http import Wire

HOUR_S = 3600


@dataclass
class Desk:
    """An account and its tokens, and the provider that makes them."""

    tokens: Tokens
    account: Account
    provider: Tokened
    wire: Wire
    client: redis.Redis
    made: list[str] = field(default_factory=list)
    answer: Callable[[], bytes] | None = None

    def get(self) -> str:
        return self.tokens.get(self.account, self.provider, self.wire)

    def refused(self, token: str) -> None:
        self.tokens.refused(self.account, self.provider, token)

    @property
    def key(self) -> str:
        return f"refundry:token:{self.provider.merchant}@{self.account.base_url}"

    def age(self, left: float) -> None:
        """Leave the kept token so much of its life."""
        assert self.client.pexpire(self.key, int(HOUR_S * 1000 * left))

    def forget_failures(self) -> None:
        """Let the rest after a failure pass."""
        self.client.delete(f"{self.key}:rest")

    @property
    def places(self) -> bool:
        """Whether any of the hour's places is taken."""
        return any(self.client.scan_iter(f"refundry:limit*{self.key}*"))

    def make(self) -> bytes:
        if self.answer is not None:
            return self.answer()
        self.made.append(secrets.token_hex(8))
        data = {"access_token": self.made[-1], "expires_in": HOUR_S}
        return json.dumps({"code": 0, "msg": "OK", "data": data}).encode()


@contextmanager
def open_desk(redis_url: str, **settings: Any) -> Iterator[Desk]:
    """A desk whose provider is a server of the test's own."""
    desks: list[Desk] = []

    def talk(peer: Peer) -> None:
        while peer.request():
            body = desks[0].make()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with RawServer(talk) as server, redis.Redis.from_url(redis_url) as client:
        own = account("guanaitong", settings.pop("base_url", server.url), **settings)
        provider, tokens, wire = load_provider(own), Tokens(redis_url), Wire(own)
        assert isinstance(provider, Tokened)
        desks.append(Desk(tokens, own, provider, wire, client))
        yield desks[0]
        tokens.close()
        wire.close()


@pytest.fixture
def desk(valkey: str) -> Iterator[Desk]:
    with open_desk(valkey) as one:
        yield one


def test_many_askers_at_once_get_one_token(desk: Desk) -> None:
    got = race(lambda _: desk.get(), threads=16)
    assert len(desk.made) == 1
    assert set(got) == set(desk.made)
    assert desk.get() == got[0]


def test_workers_share_a_token(desk: Desk, valkey: str) -> None:
    other = Tokens(valkey)
    token = desk.get()
    assert other.get(desk.account, desk.provider, desk.wire) == token
    other.close()
    assert len(desk.made) == 1


class Late(Tokens):
    """A worker that looked right before another one's token was there."""

    looked = False

    def _kept(self, desk: Any) -> Any:
        if self.looked:
            return super()._kept(desk)
        self.looked = True
        return None


def test_who_gets_the_lock_when_a_token_was_made_meanwhile_makes_none(
    desk: Desk, valkey: str
) -> None:
    token, late = desk.get(), Late(valkey)
    assert late.get(desk.account, desk.provider, desk.wire) == token
    late.close()
    assert len(desk.made) == 1


@pytest.mark.parametrize(("left", "renewed"), [(0.25, False), (0.15, True)])
def test_a_token_is_renewed_at_four_fifths_of_its_life(
    desk: Desk, left: float, renewed: bool
) -> None:
    old = desk.get()
    desk.age(left)
    assert (desk.get() != old) is renewed
    assert len(desk.made) == 1 + renewed


def test_while_one_renews_the_others_go_on_with_the_old_token(desk: Desk) -> None:
    old = desk.get()
    desk.age(0.1)
    asked, may_answer = threading.Event(), threading.Event()

    def slow() -> bytes:
        asked.set()
        may_answer.wait(10)
        desk.answer = None
        return desk.make()

    desk.answer = slow
    renewing: list[str] = []
    renewer = threading.Thread(target=lambda: renewing.append(desk.get()))
    renewer.start()
    assert asked.wait(10)
    assert desk.get() == old
    may_answer.set()
    renewer.join()
    assert renewing == [desk.made[-1]] != [old]
    assert desk.get() == desk.made[-1]


def test_an_old_token_is_used_to_its_end_where_it_cannot_be_renewed(desk: Desk) -> None:
    old = desk.get()
    desk.age(0.1)
    desk.answer = lambda: b'{"code":1000219999,"msg":"x"}'
    assert [desk.get(), desk.get()] == [old, old]


def test_a_token_lives_no_longer_than_the_provider_says(desk: Desk) -> None:
    desk.get()
    assert 0 < desk.client.pttl(desk.key) <= HOUR_S * 1000


def test_never_more_tokens_an_hour_than_the_provider_hands_out(desk: Desk) -> None:
    def make_one(_: int) -> bool:
        desk.refused(desk.get())
        return True

    most = desk.provider.tokens_an_hour
    assert most == 60
    for _ in range(most - 1):
        make_one(0)
    last = desk.get()
    desk.refused(last)
    with pytest.raises(NotSent, match="the 60 tokens an hour"):
        desk.get()
    with pytest.raises(NotSent, match="no access token"):
        desk.get()
    assert len(desk.made) == most


def test_what_was_not_sent_takes_no_place_of_the_hour(desk: Desk, valkey: str) -> None:
    desk.get()
    assert desk.places
    with open_desk(valkey, base_url=NOWHERE) as away:
        for _ in range(2):
            away.forget_failures()
            with pytest.raises(NotSent, match="ConnectionRefused"):
                away.get()
        assert not away.places


def test_after_a_failure_nobody_asks_for_a_while_and_longer_each_time(desk: Desk) -> None:
    asked = []

    def refuse() -> bytes:
        asked.append(1)
        return b'{"code":1000210999,"msg":"busy"}'

    desk.answer = refuse
    rests = []
    for _ in range(4):
        with pytest.raises(NotSent, match="1000210999 busy"):
            desk.get()
        with pytest.raises(NotSent, match="the next is in"):
            desk.get()
        rests.append(desk.client.pttl(f"{desk.key}:rest") / 1000)
        desk.forget_failures()
    assert len(asked) == 4
    assert [round(rest + 0.4) for rest in rests] == [1, 2, 4, 8]
    desk.answer = None
    assert desk.get() == desk.made[-1]
    assert not desk.client.exists(f"{desk.key}:failures")


def test_a_refused_token_is_forgotten_only_while_it_is_the_current_one(desk: Desk) -> None:
    old = desk.get()
    desk.refused(old)
    new = desk.get()
    assert new != old
    desk.refused(old)
    assert desk.get() == new
    assert len(desk.made) == 2


def test_who_waits_in_vain_for_anothers_token_sends_nothing(valkey: str) -> None:
    with open_desk(valkey, send_deadline_s=0.2) as desk:
        with desk.client.lock(f"{desk.key}:lock", timeout=10):
            with pytest.raises(NotSent, match="another worker"):
                desk.get()
        assert desk.made == []


def test_without_redis_nothing_is_sent(desk: Desk) -> None:
    away = Tokens("redis://127.0.0.1:9/0")
    with pytest.raises(NotSent, match="Redis does not answer"):
        away.get(desk.account, desk.provider, desk.wire)
    away.refused(desk.account, desk.provider, "HUNTER2")
    away.close()
    assert desk.made == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"code":0,"data":{"access_token":"HUNTER2"}}',
        b'{"code":0,"data":{"access_token":"HUNTER2","expires_in":0}}',
        b'{"code":0,"data":{"access_token":"HUNTER2 \xe9\x80\x80","expires_in":3600}}',
        b'{"code":0,"data":{"access_token":"HUNTER2\\n","expires_in":3600}}',
        b'{"code":0,"data":"HUNTER2"}',
        b'{"code":0,"access_token":"HUNTER2"',
        b"HUNTER2",
    ],
)
def test_an_answer_without_a_right_token_is_none_and_is_not_repeated(
    desk: Desk, body: bytes
) -> None:
    desk.answer = lambda: body
    with structlog.testing.capture_logs() as logs, pytest.raises(NotSent) as raised:
        desk.get()
    assert "HUNTER2" not in f"{raised.value}{logs}"


def test_neither_token_nor_secret_is_in_any_line_or_error(desk: Desk) -> None:
    with structlog.testing.capture_logs() as logs:
        token = desk.get()
        desk.age(0.1)
        desk.answer = lambda: b"{}"
        desk.get()
        desk.refused(token)
        with pytest.raises(NotSent) as raised:
            desk.get()
    assert [line["event"] for line in logs] == ["tokens.made", "tokens.not_renewed"]
    for text in (token, OWN_OPTIONS["guanaitong"]["appsecret"]):
        assert text not in f"{raised.value}{logs}"
