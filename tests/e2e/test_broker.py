"""What workers do when the broker disappears, and with messages that no task can read."""

import base64
import json
import pickle
import uuid
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import redis

from tests.e2e.service import eventually, redis_answers
from tests.e2e.stack import Stack, running

QUEUE = "refunds.intake"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("broker")
    with running(folder, f"sqlite:///{folder / 'ledger.sqlite'}") as one:
        yield one


def message(body: bytes, content_type: str = "application/json", **headers: Any) -> str:
    """A message as Celery's producers lay it into Redis."""
    head = {"lang": "py", "task": "refunds.request", "id": str(uuid.uuid4())} | headers
    info = {"exchange": QUEUE, "routing_key": QUEUE}
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-type": content_type,
            "content-encoding": "utf-8",
            "headers": {name: value for name, value in head.items() if value is not None},
            "properties": {
                "delivery_info": info,
                "delivery_tag": str(uuid.uuid4()),
                "body_encoding": "base64",
            },
        }
    )


POISON = {
    "not JSON": message(b"{"),
    "not UTF-8": message(b"\xff\xfe"),
    "a pickle": message(pickle.dumps([[], {}, {}]), "application/x-python-serialize"),
    "a body of another shape": message(b"[]"),
    "no keyword arguments": message(b'[[], ["a"], {}]'),
    "no task": message(b"[[], {}, {}]", task=None),
    "an unknown task": message(b"[[], {}, {}]", task="no.such"),
    "no id": message(b'[[], {"no": "id"}, {}]', id=None),
    "a number that is none": message(b'[[], {"amount": NaN}, {}]'),
    "deep nesting": message(b"[" * 200_000),
    "no message at all": "pushed by hand",
    "a list": "[]",
    "a bare object": "{}",
}


def test_unreadable_messages_are_recorded_and_end_no_worker(stack: Stack) -> None:
    before = stack.worker_pids()
    with redis.Redis.from_url(stack.service.urls["broker"]) as broker:
        for poison in POISON.values():
            broker.lpush(QUEUE, poison)

    def all_recorded() -> bool:
        recorded: list[dict[str, int]] = json.loads(stack.refundry("refused", "--json"))
        return sum(row["times"] for row in recorded) >= len(POISON)

    eventually(all_recorded, "every poison message is recorded")
    job = stack.job("qp", "AFTER", 100)
    stack.produce([job])
    stack.compare_with_the_book([job])
    assert stack.worker_pids() == before


def test_a_worker_survives_the_broker_with_messages_in_flight(stack: Stack) -> None:
    jobs = [stack.job("qp", f"FLIGHT{number}", 100) for number in range(8)]
    for job in jobs:
        stack.plan(job, fate="succeed", submit=["slow:3"])
    stack.produce(jobs)
    for job in jobs:
        stack.sim.await_log(event="submit_in", refund=job["refund_no"])
    before = stack.worker_pids()
    psutil.Process(stack.service.pid_of("valkey")).kill()
    stack.compare_with_the_book(jobs)
    later = stack.job("qp", "LATER", 100)
    eventually(lambda: redis_answers(stack.service.urls["broker"]), "the broker is back")
    stack.produce([later])
    stack.compare_with_the_book([later])
    assert stack.worker_pids() == before
