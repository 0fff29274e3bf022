"""A refund that is asked for by HTTP, on real processes, to its end."""

import json
from typing import Any

import psutil
import pytest
import redis
import requests

from tests.e2e.service import eventually, redis_answers
from tests.e2e.stack import FINAL, Job, Stack


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    made = stack.refundry("token", "create", "till", "--account=qp", "--account=bf", "--json")
    return str(json.loads(made)["token"])


def ask(stack: Stack, token: str, method: str, path: str, body: Job | None = None) -> Any:
    url, headers = stack.service.urls["gateway"] + path, {"Authorization": f"Bearer {token}"}
    return requests.request(method, url, json=body, headers=headers, timeout=30)


def ends_final(stack: Stack, token: str, jobs: list[Job]) -> None:
    def final() -> bool:
        paths = [f"/refunds/{job['account']}/{job['refund_no']}" for job in jobs]
        answers = [ask(stack, token, "GET", path) for path in paths]
        assert {answer.status_code for answer in answers} == {200}, [a.text for a in answers]
        return all(answer.json()["state"] in FINAL for answer in answers)

    eventually(final, "all are final")
    stack.compare_with_the_book(jobs)


def test_a_refund_that_is_asked_for_by_http_ends_final(stack: Stack, token: str) -> None:
    jobs = [
        stack.job(account, f"HTTP{number}", 100) for number in range(3) for account in ("qp", "bf")
    ]
    for job in jobs:
        answer = ask(stack, token, "POST", "/refunds", job)
        assert answer.status_code == 202, answer.text
    ends_final(stack, token, jobs)
    shown = ask(stack, token, "GET", f"/refunds/qp/{jobs[0]['refund_no']}").json()
    assert [attempt["status"] for attempt in shown["attempts"]] == ["succeeded"]
    assert ask(stack, token, "GET", f"/refunds/hk/{jobs[0]['refund_no']}").status_code == 403


def test_neither_an_emptied_nor_a_killed_broker_keeps_it_from_its_end(
    stack: Stack, token: str
) -> None:
    stack.refundry("pause", "qp")
    jobs = [stack.job("qp", f"LOST{number}", 100) for number in range(3)]
    assert ask(stack, token, "POST", "/refunds", jobs[0]).status_code == 202
    with redis.Redis.from_url(stack.service.urls["broker"]) as broker:
        broker.flushall()
    assert ask(stack, token, "POST", "/refunds", jobs[1]).status_code == 202
    psutil.Process(stack.service.pid_of("valkey")).kill()
    assert ask(stack, token, "POST", "/refunds", jobs[2]).status_code == 202
    eventually(lambda: redis_answers(stack.service.urls["broker"]), "the broker is back")
    stack.refundry("resume", "qp")
    ends_final(stack, token, jobs)


def test_a_revoked_token_opens_nothing(stack: Stack, token: str) -> None:
    other = json.loads(stack.refundry("token", "create", "other", "--account=*", "--json"))
    assert ask(stack, other["token"], "GET", "/refunds/qp/none").status_code == 404
    stack.refundry("token", "revoke", "other")
    assert ask(stack, other["token"], "GET", "/refunds/qp/none").status_code == 401
    stack.refundry("token", "revoke", "other", code=1)
    listed = stack.refundry("token", "list", "--json")
    assert [row["name"] for row in json.loads(listed)] == ["other", "till"]
    assert other["token"] not in listed
    assert token not in listed
    log = (stack.service.home / "logs" / "gateway.log").read_text()
    assert other["token"] not in log
    assert token not in log
