"""Messages that are taken and acknowledged many at a time: each is delivered, and none is lost."""

import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import kombu as untyped
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from worker.celery_shim import install_shim
from worker.redis_transport import Transport

kombu: Any = untyped
PATIENCE_S = 20.0
#: Where a message says that it came from.
SOURCE = {"exchange": "", "routing_key": ""}


@dataclass
class Place:
    """Queues of a test's own, with its own keys for what is not acknowledged."""

    url: str
    name: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        install_shim()

    @property
    def queues(self) -> list[Any]:
        return [kombu.Queue(f"{self.name}.{number}", durable=True) for number in range(2)]

    def connect(self) -> Any:
        keys = {f"{key}_key": f"{self.name}.{key}" for key in ("unacked", "unacked_index")}
        options = keys | {"unacked_mutex_key": f"{self.name}.mutex", "visibility_timeout": 1}
        return kombu.Connection(self.url, transport=Transport, transport_options=options)

    def publish(self, bodies: list[Any], priorities: tuple[int, ...] = (0,)) -> None:
        """The messages, by turns to each queue and with each priority."""
        with self.connect() as connection, connection.Producer(serializer="json") as producer:
            for number, body in enumerate(bodies):
                producer.publish(
                    body,
                    routing_key=self.queues[number % 2].name,
                    declare=self.queues,
                    priority=priorities[number % len(priorities)],
                )

    def counts(self) -> tuple[int, int]:
        """How many messages wait, and how many somebody has."""
        with redis.Redis.from_url(self.url) as client:
            lists = [key for key in client.keys(f"{self.name}.[01]*")]
            held = client.hlen(f"{self.name}.unacked")
            assert held == client.zcard(f"{self.name}.unacked_index")
            return sum(client.llen(key) for key in lists), held


class Taker:
    """Takes up to so many messages at a time and gives them back when it is told to."""

    def __init__(self, connection: Any, place: Place, most: int, **options: Any) -> None:
        self.connection, self.held, self.bodies = connection, list[Any](), list[Any]()
        channel = connection.default_channel
        self.consumer = kombu.Consumer(
            channel, place.queues, callbacks=[self.take], accept=["json"], **options
        )
        self.consumer.qos(prefetch_count=most)
        self.consumer.consume()

    def take(self, body: Any, message: Any) -> None:
        self.held.append(message)
        self.bodies.append(body)

    def turn(self, timeout: float = 0.05) -> None:
        with suppress(socket.timeout):
            self.connection.drain_events(timeout=timeout)

    def until(self, done: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < give_up_at, f"has {len(self.bodies)}: {self.bodies}"
            self.turn()

    def give_back(self, how_many: int) -> None:
        for message in self.held[:how_many]:
            message.ack()
        del self.held[:how_many]


def stop_waiting(connection: Any) -> None:
    """Whatever is taken from now on is taken when something else is done."""
    connection.default_channel._brpop_start = lambda: None
    connection.transport.cycle.maybe_restore_messages = lambda: None


@pytest.fixture
def place(valkey: str) -> Place:
    return Place(valkey)


@settings(max_examples=12, deadline=None)
@given(
    wanted=st.integers(1, 40),
    most=st.integers(1, 8),
    priorities=st.sampled_from([(0,), (0, 3), (9, 0, 6)]),
    backs=st.lists(st.integers(0, 9), max_size=20),
)
def test_each_message_is_delivered_once_and_never_more_at_a_time_than_there_is_room(
    valkey: str, wanted: int, most: int, priorities: tuple[int, ...], backs: list[int]
) -> None:
    place = Place(valkey)
    place.publish(list(range(wanted)), priorities)
    with place.connect() as connection:
        taker = Taker(connection, place, most)

        def give_back(back: int) -> None:
            assert len(taker.held) <= most
            taker.give_back(back)

        for back in backs:
            taker.turn(timeout=0.01)
            give_back(back)
        while len(taker.bodies) < wanted:
            taker.until(lambda: len(taker.held) > 0)
            give_back(most)
        taker.give_back(most)
    assert sorted(taker.bodies) == list(range(wanted))
    assert place.counts() == (0, 0)


def test_what_is_done_is_acknowledged_and_what_waits_is_taken_in_one_round_trip(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.publish(list(range(20)))
    with place.connect() as connection:
        taker = Taker(connection, place, 8)
        taker.until(lambda: len(taker.held) == 8)
        sent: list[str] = []
        send = redis.client.Pipeline.execute

        def counted(pipe: Any, *args: Any, **kwargs: Any) -> Any:
            sent.append(" ".join(command[0][0] for command in pipe.command_stack))
            return send(pipe, *args, **kwargs)

        monkeypatch.setattr(redis.client.Pipeline, "execute", counted)
        taker.give_back(8)
        taker.until(lambda: len(taker.held) == 8)
        assert sent == ["HDEL ZREM EVAL"]
        assert place.counts() == (4, 8)


def test_no_message_comes_that_there_is_no_room_for(place: Place) -> None:
    """It would be with nobody: taken, but neither noted nor delivered."""
    place.publish([1, 2, 3])
    with place.connect() as connection:
        taker = Taker(connection, place, 4)
        taker.until(lambda: len(taker.held) == 3)
        taker.turn()
        assert connection.default_channel._in_poll
        place.publish(list(range(10)))  # the first of them is on its way
        taker.give_back(1)
        taker.until(lambda: len(taker.held) == 4)
        assert place.counts() == (8, 4)


def test_what_a_channel_still_holds_when_it_is_closed_waits_again(place: Place) -> None:
    place.publish(list(range(8)))
    with place.connect() as connection:
        taker = Taker(connection, place, 4)
        taker.until(lambda: len(taker.held) == 4)
        taker.give_back(3)  # nobody is told before the channel is closed
    assert place.counts() == (5, 0)


def _die_of_the_third(place: Place) -> None:
    with place.connect() as connection:
        taker = Taker(connection, place, 8)
        taker.until(lambda: bool(taker.held))
        taker.give_back(1)
        take = taker.take

        def die(body: Any, message: Any) -> None:
            take(body, message)
            if len(taker.bodies) > 2:
                os.kill(os.getpid(), signal.SIGKILL)

        taker.consumer.callbacks[:] = [die]
        taker.until(lambda: False)


def test_a_worker_that_is_killed_when_it_has_just_taken_messages_loses_none(place: Place) -> None:
    place.publish(list(range(20)))
    process = get_context("spawn").Process(target=_die_of_the_third, args=(place,))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL
    waiting, held = place.counts()
    assert waiting + held == 19
    assert held > 2
    with place.connect() as connection:
        taker = Taker(connection, place, 40)
        taker.until(lambda: len(set(taker.bodies)) == 19)


@pytest.mark.parametrize("away", ["room", "scripts"])
def test_where_nothing_can_be_noted_nothing_is_taken_and_what_is_done_is_acknowledged(
    own_valkey: str, away: str
) -> None:
    place = Place(own_valkey)
    place.publish(list(range(20)))
    with redis.Redis.from_url(own_valkey) as client, place.connect() as connection:
        taker = Taker(connection, place, 8)
        taker.until(lambda: len(taker.held) == 8)
        stop_waiting(connection)
        if away == "room":
            client.config_set("maxmemory", 1)
        else:
            client.acl_setuser("default", enabled=True, nopass=True, commands=["+@all", "-eval"])
        with capture_logs() as logs:
            taker.give_back(8)
            taker.turn()
        assert [line["event"] for line in logs] == ["redis_transport.not_taken"]
        assert place.counts() == (12, 0)
        client.config_set("maxmemory", 0)
        client.acl_setuser("default", enabled=True, nopass=True, commands=["+@all"])


@pytest.mark.parametrize(
    "text",
    [
        "by hand",
        "[]",
        json.dumps({"properties": {"delivery_tag": "x", "delivery_info": SOURCE}}),
        b"\xff\xfe",
        "[" * 5000,
    ],
)
def test_what_is_no_message_is_delivered_as_one_that_can_be_acknowledged(
    place: Place, text: str | bytes
) -> None:
    place.publish([1])
    with place.connect() as connection:
        taker = Taker(connection, place, 8)
        raw: list[Any] = []
        taker.consumer.on_message = raw.append
        taker.until(lambda: len(raw) == 1)
        with redis.Redis.from_url(place.url) as client:
            stop_waiting(connection)
            taker.until(lambda: not connection.default_channel._in_poll)
            client.lpush(place.queues[0].name, text)
        raw[0].ack()
        taker.until(lambda: len(raw) == 2)
        assert place.counts() == (0, 1)
        raw[1].ack()
    assert place.counts() == (0, 0)


def test_what_nobody_acknowledges_is_not_noted(place: Place) -> None:
    place.publish(list(range(10)))
    with place.connect() as connection:
        taker = Taker(connection, place, 8, no_ack=True)
        taker.until(lambda: len(taker.bodies) == 10)
    assert place.counts() == (0, 0)
    assert sorted(taker.bodies) == list(range(10))
