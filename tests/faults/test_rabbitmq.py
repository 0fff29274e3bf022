"""The main job on RabbitMQ, whose quorum queues keep what Redis might lose."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.service import eventually
from tests.e2e.stack import PROVIDERS, Job, Stack, running
from tests.e2e.test_broker import POISON
from tests.faults.servers import RabbitServer, RedisServer, messaging


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    with RabbitServer(tmp_path_factory.mktemp("rabbit") / "rabbit") as one:
        yield one


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, rabbit: RabbitServer, postgres_database: str
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with RedisServer(folder / "redis") as locks:
        environment = {"REFUNDRY_BROKER_URL": rabbit.url, "REFUNDRY_REDIS_URL": locks.url}
        with running(folder, postgres_database, environment=environment) as one:
            one.service.urls["broker"] = rabbit.url  # with its password
            yield one


def published(rabbit: RabbitServer, message: str) -> bool:
    """Publish what a test wrote for Redis as it would come by RabbitMQ, where it can come so."""
    envelope = json.loads(message) if message.startswith("{") else None
    if not envelope:
        return False  # Redis alone has items that are no messages
    with messaging.Connection(rabbit.url) as connection:
        try:
            _publish(connection.default_channel, envelope)
        except (AttributeError, TypeError, ValueError):
            return False  # AMQP has types of its own, and no way to write this
    return True


def _publish(channel: Any, envelope: dict[str, Any]) -> None:
    channel.basic_publish(
        channel.prepare_message(
            base64.b64decode(envelope["body"], validate=True),
            content_type=envelope["content-type"],
            content_encoding=envelope["content-encoding"],
            headers=envelope["headers"],
        ),
        routing_key="refunds.intake",
    )


def refunds(stack: Stack, name: str, plan: str) -> list[Job]:
    """Twenty-four refunds on twelve orders, over every account."""
    jobs = [
        stack.job(account, f"{name}{number // 2}", 100)
        for account in PROVIDERS
        for number in range(6)
    ]
    return [stack.plan(job, fate="succeed", submit=[plan]) for job in jobs]


def test_it_is_in_order_and_its_queues_are_quorum_queues(
    stack: Stack, rabbit: RabbitServer
) -> None:
    checked = stack.refundry("doctor", "--json").splitlines()
    assert {json.loads(line)["health"] for line in checked} == {"ok"}
    with messaging.Connection(rabbit.url) as connection:
        with pytest.raises(Exception, match="inequivalent arg 'x-queue-type'"):
            messaging.Queue("refunds.intake", durable=True)(connection.channel()).declare()


def test_a_restart_of_rabbitmq_and_killed_workers_lose_and_repeat_nothing(
    stack: Stack, rabbit: RabbitServer
) -> None:
    jobs = refunds(stack, "RESTART", "slow:2")
    stack.produce(jobs)
    stack.sim.await_log(event="EXECUTED", refund=jobs[0]["refund_no"])
    stack.kill_workers()
    rabbit.restart()
    stack.compare_what_was_interrupted(jobs)
    assert stack.overlaps() == []


def test_a_killed_and_a_frozen_rabbitmq_delay_only(stack: Stack, rabbit: RabbitServer) -> None:
    jobs = refunds(stack, "FROZEN", "slow:0.2")
    stack.produce(jobs)
    stack.sim.await_log(event="submit_in", refund=jobs[0]["refund_no"])
    rabbit.freeze()
    time.sleep(6)
    rabbit.kill()
    rabbit.start()
    stack.compare_with_the_book(jobs)
    assert stack.overlaps() == []


def test_what_no_task_can_read_is_recorded_and_ends_no_worker(
    stack: Stack, rabbit: RabbitServer
) -> None:
    before = stack.worker_pids()
    sent = sum(published(rabbit, poison) for poison in POISON.values())
    assert sent >= 10

    def all_recorded() -> bool:
        rows = json.loads(stack.refundry("refused", "--json"))
        return bool(sum(row["times"] for row in rows) >= sent)

    eventually(all_recorded, "every poison message is recorded")
    assert stack.worker_pids() == before


def test_a_producers_queue_stays_as_it_was_declared_and_is_told_once_it_is_there(
    stack: Stack, rabbit: RabbitServer
) -> None:
    told = {"task": "shop.refund_announced", "queue": "shop"}
    job = stack.job("qp", "TOLD", 100, announce=told)
    stack.produce([job])
    stack.compare_with_the_book([job])
    with stack.ledger.read() as connection:
        waiting = connection.exec_driver_sql(
            "SELECT count(*) FROM announcements WHERE delivered_at IS NULL"
        ).scalar_one()
    assert waiting == 2
    heard: list[str] = []
    kind = {"x-queue-type": "quorum"}
    queue = messaging.Queue("shop", messaging.Exchange("shop"), "shop", queue_arguments=kind)
    with messaging.Connection(rabbit.url) as connection:
        with connection.Consumer(
            queue, on_message=lambda one: heard.append(one.payload[1]["event"])
        ):
            while heard[-1:] != ["final"]:
                connection.drain_events(timeout=120)
    assert heard == ["accepted", "final"]
