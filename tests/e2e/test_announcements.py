"""A producer is told: its own Celery worker receives what has become of its refunds."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import eventually
from tests.e2e.stack import ROOT, Stack, running

ANNOUNCE = {"task": "shop.refund_announced", "queue": "shop"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("announced")
    with running(folder, f"sqlite:///{folder / 'ledger.sqlite'}") as one:
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
