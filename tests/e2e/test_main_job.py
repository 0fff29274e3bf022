"""The main job on real processes, compared refund by refund with the provider's book."""

import json
from pathlib import Path

import redis
import requests

from refundry import State
from simulator import kinds
from tests.e2e.service import eventually
from tests.e2e.stack import FINAL, NOT_SENT_AGAIN, PROVIDERS, Job, Stack
from tests.simulator.harness import GAT_SECRET, KEY
from worker.ledger import reports

#: Every way to lose an answer that ends within the shortened timeouts.
FAULTS = (
    "ok",
    "timeout_after",
    "reset_after",
    "reset_before",
    "http_500_after",
    "http_500_before",
    "truncated",
    "headers_cut",
    "garbage",
    "bad_signature",
    "redirect",
    "wrong_amount",
    "wrong_number",
    "unknown_code",
    "token_refused",
)
#: After these the provider has done nothing and has not said so.
UNSEEN = {fault for fault in FAULTS if not kinds.parse_fault(fault, "submit").processed}
FATES = ("succeed", "decline", "pending:2", "pending_decline:2", "unknown:2", "succeed")


def is_left(account: str, fault: str) -> bool:
    """Whether a refund ends with a person, and holds its order until then.

    A token that was refused is an answer, by the one that has tokens.
    """
    return account in NOT_SENT_AGAIN and fault in UNSEEN - {"token_refused"}


def batch(stack: Stack, name: str) -> list[Job]:
    """Forty refunds and more on ten orders and more, over every account."""
    jobs = []
    for account in PROVIDERS:
        for number, fault in enumerate(FAULTS):
            order = f"{name}{fault if is_left(account, fault) else number // 3}"
            job = stack.job(account, order, 100 + number)
            jobs.append(stack.plan(job, fate="succeed", submit=[fault]))
        for number, fate in enumerate(FATES):
            job = stack.job(account, f"{name}F{number // 2}", 200 + number)
            jobs.append(stack.plan(job, fate=fate, query=["not_found", "ok"][number % 2 :]))
    return jobs


def test_every_refund_of_a_batch_ends_as_the_providers_book_says(stack: Stack) -> None:
    jobs = batch(stack, "BATCH")
    assert len(jobs) >= 40
    assert len({(job["account"], job["order_no"]) for job in jobs}) >= 10
    stack.produce(jobs)
    left = [job for job in jobs if any(job["order_no"].endswith(fault) for fault in UNSEEN)]
    assert {job["account"] for job in left} == NOT_SENT_AGAIN
    stack.compare_with_the_book([job for job in jobs if job not in left])
    stack.compare_with_nothing(left)
    assert stack.overlaps() == []


def test_refunds_of_one_order_never_overlap_and_never_exceed_what_was_paid(stack: Stack) -> None:
    stack.sim.control("dial", {"provider": "quickpay", "latency_s": [0.05, 0.15]})
    orders = [f"RACE{number}" for number in range(8)]
    pairs = [[stack.job("qp", order, 500), stack.job("qp", order, 500)] for order in orders]
    thirds = [stack.job("qp", order, 1) for order in orders]
    jobs = [job for pair in pairs for job in pair]
    stack.produce(jobs)
    stack.await_states(jobs, set(State))
    stack.produce(thirds)
    stack.compare_with_the_book(jobs)
    assert stack.overlaps() == []
    for job in thirds:
        shown = json.loads(stack.refundry("status", job["refund_no"], "--json", code=1))
        assert shown["refused"][0]["code"] == "over_refund"
    stack.sim.control("dial", {"provider": "quickpay", "latency_s": [0, 0]})


def test_a_worker_killed_after_the_provider_executed_executes_nothing_twice(
    stack: Stack,
) -> None:
    jobs = [stack.job(account, "KILLED", 300) for account in PROVIDERS]
    for job in jobs:
        stack.plan(job, fate="succeed", submit=["slow:4"])
    stack.produce(jobs)
    for job in jobs:
        stack.sim.await_log(event="EXECUTED", refund=job["refund_no"])
    stack.kill_workers()
    stack.compare_with_the_book(jobs)
    for job in jobs:
        events = json.loads(stack.refundry("status", job["refund_no"], "--json"))["events"]
        assert "reaped" in [event["kind"] for event in events]


def test_an_outage_opens_a_breaker_that_all_workers_share_and_fails_nothing(stack: Stack) -> None:
    stack.sim.control("outage", {"provider": "quickpay", "seconds": 4})
    jobs = [stack.job("qp", f"OUTAGE{number}", 300) for number in range(20)]
    stack.produce(jobs)
    eventually(lambda: breakers(stack)["qp"] != "closed", "the breaker opens")
    assert breakers(stack)["hk"] == "closed"
    stack.compare_with_the_book(jobs)
    rows = stack.await_states(jobs, FINAL).values()
    assert {row["state"] for row in rows} == {"succeeded"}
    assert breakers(stack)["qp"] == "closed"


def breakers(stack: Stack) -> dict[str, str]:
    """How every account's breaker is."""
    with stack.ledger.read() as connection:
        rows = reports.account_rows(connection, stack.ledger.now(connection))
    return {row.account: row.breaker for row in rows}


def test_what_intake_has_taken_survives_the_loss_of_the_broker(stack: Stack) -> None:
    stack.refundry("pause", "qp")
    jobs = [stack.job("qp", f"FLUSHED{number % 7}", 50) for number in range(20)]
    stack.produce(jobs)
    stack.await_states(jobs, {"queued"})
    with redis.Redis.from_url(stack.service.urls["broker"]) as broker:
        broker.flushall()
    stack.refundry("resume", "qp")
    stack.compare_with_the_book(jobs)


def test_flower_knows_every_refund_of_a_batch_and_nothing_secret(stack: Stack) -> None:
    jobs = [
        stack.job("ga" if number % 2 else "hk", f"FLOWER{number % 5}", 50) for number in range(20)
    ]
    person = stack.job("ga", "PERSON", 50, extra={"recipientName": "RECIPIENT"})
    stack.produce([person])
    stack.produce(jobs)
    stack.await_states(jobs, FINAL)

    def shown() -> requests.Response:
        url = f"{stack.service.urls['flower']}/api/tasks?limit=100000"
        return requests.get(url, timeout=10)

    eventually(lambda: all(job["refund_no"] in shown().text for job in jobs), "Flower shows all")
    answer = shown()
    polls = [task for task in answer.json().values() if task["name"] == "refunds.poll"]
    assert all(task["kwargs"].startswith("{'account': ") for task in polls)
    assert "refunds.look" not in answer.text  # a tick a second would leave room for nothing else
    assert person["refund_no"] in answer.text
    token = access_token(stack)
    for secret in (KEY, GAT_SECRET, token, "RECIPIENT"):
        assert secret not in answer.text
        assert _files_with(stack.service.home / "logs", secret) == []
    for secret in (KEY, GAT_SECRET):
        assert _files_with(stack.service.home, secret) == []


def test_a_failed_refund_is_sent_again_on_request_and_only_then(stack: Stack) -> None:
    job = stack.plan(stack.job("qp", "AGAIN", 700), fate=["decline", "succeed"])
    stack.produce([job, job])
    stack.await_states([job], {"failed"})
    stack.produce([job])
    stack.refundry("resubmit", job["refund_no"], "--account=qp", "--after-attempt=1")
    stack.await_states([job], {"succeeded"})
    stack.refundry("resubmit", job["refund_no"], "--account=qp", "--after-attempt=1")
    stack.compare_with_the_book([job])
    assert stack.sim.entry(job["refund_no"])["submits"] == 2


def access_token(stack: Stack) -> str:
    """The one that all workers share."""
    with redis.Redis.from_url(stack.service.urls["broker"], decode_responses=True) as broker:
        (key,) = [key for key in broker.scan_iter("refundry:token:*") if "@" in key]
        return str(broker.hget(key, "value"))


def _files_with(folder: Path, secret: str) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if secret.encode() in path.read_bytes()]
