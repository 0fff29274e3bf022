"""The servers themselves: what they keep when they are killed, and what a fault is to a client."""

import time
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import create_engine, text
from sqlalchemy.exc import InternalError, OperationalError

from tests.faults.server import program
from tests.faults.servers import PostgresServer, RabbitServer, RedisServer, messaging

#: A quorum queue that is younger has no leader ever again once RabbitMQ (3.10) was killed.
_NEW_S = 2.0


def test_a_missing_program_says_which_package_brings_it() -> None:
    with pytest.raises(AssertionError, match="apt install no-such-package"):
        program("no-such-program", "no-such-package")


def test_a_killed_postgresql_keeps_what_was_committed_and_a_cut_connection_is_an_error(
    tmp_path: Path,
) -> None:
    with PostgresServer(tmp_path / "postgres") as server:
        url = server.new_database()
        engine = create_engine(url, pool_pre_ping=True)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE kept AS SELECT 1 AS one"))
        server.kill()
        server.start()
        with engine.connect() as connection:
            assert connection.execute(text("SELECT one FROM kept")).scalar_one() == 1
            server.cut_connections()
            with pytest.raises(OperationalError, match="terminating connection"):
                connection.execute(text("SELECT 1"))
        server.configure(url, default_transaction_read_only="on")
        with engine.connect() as connection, pytest.raises(InternalError) as refused:
            connection.execute(text("INSERT INTO kept VALUES (2)"))
        assert isinstance(refused.value.orig, psycopg.errors.ReadOnlySqlTransaction)
        server.reset(url)
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO kept VALUES (2)"))
        engine.dispose()


def test_a_redis_keeps_what_it_has_until_it_is_flushed_and_does_not_answer_while_frozen(
    tmp_path: Path,
) -> None:
    with RedisServer(tmp_path / "redis") as server:
        client = redis.Redis.from_url(server.url, socket_timeout=0.2)
        client.set("kept", "1")
        server.restart()
        assert client.get("kept") == b"1"
        server.freeze()
        with pytest.raises(redis.TimeoutError):
            client.get("kept")
        server.thaw()
        server.flush()
        assert client.get("kept") is None
        client.close()


def test_a_quorum_queue_keeps_its_messages_when_its_rabbitmq_is_killed(tmp_path: Path) -> None:
    arguments = {"x-queue-type": "quorum"}
    queue = messaging.Queue("kept", messaging.Exchange("kept"), "kept", queue_arguments=arguments)
    confirmed = {"confirm_publish": True}
    with RabbitServer(tmp_path / "rabbit") as server:
        with messaging.Connection(server.url, transport_options=confirmed) as connection:
            producer = connection.Producer()
            producer.publish("one", exchange=queue.exchange, routing_key="kept", declare=[queue])
        time.sleep(_NEW_S)
        server.kill()
        server.start()
        taken: list[str] = []
        with messaging.Connection(server.url) as connection:
            with connection.Consumer(queue, on_message=lambda one: taken.append(one.payload)):
                connection.drain_events(timeout=60)
        assert taken == ["one"]
