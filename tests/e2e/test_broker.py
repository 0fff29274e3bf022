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
from celery import Celery

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


def altered(part: str, value: Any) -> str:
    """A message with a part, of its own or of its properties, that no producer writes so."""
    whole = json.loads(message(json.dumps([[], {part: str(value)}, {}]).encode()))
    (whole if part in whole else whole["properties"])[part] = value
    return json.dumps(whole)


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
    "a number of 5,000 digits": message(b'[[], {"amount": ' + b"9" * 5000 + b"}, {}]"),
    "too much": message(b'[[], {"reason": "' + b"x" * 2**19 + b'"}, {}]'),
    "the protocol before": message(
        b'{"task": "refunds.request", "id": "1", "args": [], "kwargs": {"old": 1}}', task=None
    ),
    "yaml": message(b"[[], {of: yaml}, {}]", "application/x-yaml"),
    "msgpack": message(b"\x93\x90\x80\x80", "application/x-msgpack"),
    "data of an unknown kind": message(b"[[], {}, {}]", "application/data"),
    "half a surrogate pair": message(b"[[], {}, {}]", task="no\ud800such"),
    "a NUL": message(b"[[], {}, {}]", task="no\x00such"),
    "a task that is no name": message(b"[[], {}, {}]", task=["refunds.request"]),
    "an id that is none": message(b'[[], {"list": "id"}, {}]', id=["x"]),
    "an alias that is none": message(b'[[], {"alias": 1}, {}]', shadow={"x": 1}),
    "a time before time": message(b'[[], {"eta": 1}, {}]', eta="0001-01-01T00:00:00+23:00"),
    "a time after time": message(b'[[], {"expires": 1}, {}]', expires="9999-12-31T23:59:59-23:00"),
    "an unknown compression": message(b"[[], {}, {}]", compression="nope"),
    **{
        f"{part} that is {value!r}": altered(part, value)
        for part, value in [
            ("headers", "x"),
            ("headers", None),
            ("body", 5),
            ("body", None),
            ("body", "no base64!"),
            ("content-type", ["x"]),
            ("content-encoding", "nope"),
            ("body_encoding", "zip"),
            ("delivery_tag", ["x"]),
            ("delivery_info", "x"),
            ("priority", "x"),
        ]
    },
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


def test_whoever_publishes_cannot_stop_a_worker_or_have_a_job_dropped(stack: Stack) -> None:
    """Looking is allowed: readiness and Flower need it."""
    control = Celery(broker=stack.service.urls["broker"]).control
    before = stack.worker_pids()
    for command in ("shutdown", "pool_shrink", "cancel_consumer", "revoke", "terminate"):
        replies = control.broadcast(command, {}, reply=True, timeout=5, limit=2)
        said = [answer for reply in replies for answer in reply.values()]
        assert said == [{"error": f"KeyError('{command}')"}] * 2
    assert len(control.ping(timeout=5, limit=2)) == 2
    job = stack.job("qp", "NOT-STOPPED", 100)
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
