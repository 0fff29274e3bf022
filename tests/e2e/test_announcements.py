"""A producer is told by its own Celery worker or at its URL what has become of its refunds."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.e2e.service import eventually
from tests.e2e.stack import ROOT, Stack, running
from tests.providers.harness import Peer, RawServer
from tests.receiver import SECRET, Receiver

ANNOUNCE = {"task": "shop.refund_announced", "queue": "shop"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver(statuses=[500]) as one:
        yield one


@pytest.fixture(scope="module")
def silent() -> Iterator[RawServer]:
    """A receiver that never answers."""

    def say_nothing(peer: Peer) -> None:
        peer.await_leaving()

    with RawServer(say_nothing) as one:
        yield one


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, silent: RawServer
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("announced")
    (folder / "announce.secret").write_text(f"{SECRET}\n")
    settings = (
        f'announce_hosts = ["{receiver.host}", "127.0.0.1:{silent.port}"]\n'
        'announce_secret = "file:announce.secret"\nannounce_private = true\n'
    )
    with running(folder, f"sqlite:///{folder / 'ledger.sqlite'}", settings) as one:
        yield one


@pytest.fixture
def told(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """The file that the producer's worker writes its announcements to."""
    file = tmp_path / "announcements.jsonl"
    file.touch()
    environment = environment_of(stack, file)
    command = [sys.executable, "-m", "celery", "-A", "tests.e2e.producer_app", "worker"]
    shop = subprocess.Popen(
        [*command, "-Q", "shop", "-P", "solo", "--without-mingle", "--without-gossip"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    yield file
    shop.terminate()
    shop.wait(20)


def environment_of(stack: Stack, file: Path) -> dict[str, str]:
    own = {"PRODUCER_BROKER": stack.service.urls["broker"], "PRODUCER_FILE": str(file)}
    return {**os.environ, **own}


def announced(file: Path, refund_no: str) -> list[dict[str, Any]]:
    lines = map(json.loads, file.read_text().splitlines())
    return [line for line in lines if line["refund_no"] == refund_no]


def test_acceptance_and_the_end_are_announced_in_order(stack: Stack, told: Path) -> None:
    job = stack.plan(
        stack.job("hk", "TOLD", 100, announce=ANNOUNCE), fate="succeed", submit=["timeout_after"]
    )
    stack.produce([job])
    stack.compare_with_the_book([job])
    eventually(lambda: len(announced(told, job["refund_no"])) >= 2, "both announcements")
    first, last = announced(told, job["refund_no"])
    assert (first["event"], first["state"]) == ("accepted", "queued")
    assert (last["event"], last["state"]) == ("final", "succeeded")
    assert last["provider_refund_no"]
    assert {"account", "order_no", "refund_no", "amount", "reason"} <= set(last)


def test_a_refusal_is_announced_with_its_reason(stack: Stack, told: Path) -> None:
    job = stack.job("qp", "TOO-MUCH", 1000, order_amount=999, announce=ANNOUNCE)
    ask = "import json, sys; from tests.e2e.producer_app import ask_without_the_package as ask; "
    subprocess.run(
        [sys.executable, "-c", f"{ask}ask(json.loads(sys.argv[1]))", json.dumps(job)],
        cwd=ROOT,
        env=environment_of(stack, told),
        timeout=30,
        check=True,
    )
    eventually(lambda: bool(announced(told, job["refund_no"])), "the refusal")
    (refusal,) = announced(told, job["refund_no"])
    assert refusal["event"] == "refused"
    assert "999" in refusal["reason"]


def test_a_url_is_told_in_order_signed_and_again_where_it_was_not_taken(
    stack: Stack, receiver: Receiver
) -> None:
    job = stack.job("hk", "TOLD-BY-URL", 100, announce={"url": receiver.url})
    stack.plan(job, fate="succeed", submit=["timeout_after"])
    stack.produce([job])
    stack.compare_with_the_book([job])
    number = job["refund_no"]
    eventually(lambda: receiver.events(number)[-1:] == ["final"], "the end")
    assert receiver.events(number) == ["accepted", "accepted", "final"]
    first, again, last = receiver.told
    assert first == again
    assert (last[2]["state"], last[2]["amount"]) == ("succeeded", 100)


def test_a_task_is_told_while_many_wait_for_a_url_that_never_answers(
    stack: Stack, told: Path, silent: RawServer
) -> None:
    url = {"url": f"{silent.url}/told"}
    stack.produce([stack.job("qp", f"SILENT-{n}", 1, announce=url) for n in range(50)])
    assert silent.connected.wait(30)
    job = stack.job("qp", "NOT-DELAYED", 100, announce=ANNOUNCE)
    stack.produce([job])
    eventually(lambda: len(announced(told, job["refund_no"])) >= 2, "both announcements")
    assert silent.connections <= 50


@contextmanager
def as_flower(stack: Stack) -> Iterator[list[dict[str, Any]]]:
    """The tasks that workers say they received, as long as the context lasts."""
    seen: list[dict[str, Any]] = []
    listening = threading.Event()
    app = Celery(broker=stack.service.urls["broker"], set_as_current=False)
    with app.connection() as connection:
        events = app.events.Receiver(connection, handlers={"task-received": seen.append})
        events.on_consume_ready = lambda *_, **__: listening.set()
        thread = threading.Thread(target=events.capture, kwargs={"wakeup": False})
        thread.start()
        assert listening.wait(20)
        yield seen
        events.should_stop = True
        thread.join(20)
    app.close()


def test_neither_flower_nor_a_log_sees_the_secret_or_the_url(
    stack: Stack, receiver: Receiver
) -> None:
    jobs = [
        stack.job("qp", "HIDDEN", 100, announce={"url": receiver.url}),
        stack.job("qp", "HIDDEN", 100, announce={"url": "https://u@a.example/HUNTER2"}),
    ]
    with as_flower(stack) as seen:
        stack.produce(jobs)
        eventually(lambda: all(job["refund_no"] in str(seen) for job in jobs), "both tasks")
    stack.await_states(jobs[:1], {"succeeded"})
    logs = [file.read_text() for file in stack.service.home.rglob("*.log")]
    assert logs
    said = f"{seen} {logs} {stack.service.error_file.read_text()}"
    assert f"{receiver.host}/***" in said
    assert "HUNTER2" not in said
    assert SECRET.removeprefix("whsec_") not in said
