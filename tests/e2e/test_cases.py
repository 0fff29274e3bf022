"""People at work beside a running service: by their commands alone, and what the providers saw."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.service import eventually
from tests.e2e.stack import Job, Stack, running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, postgres_database: str) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("cases")
    with running(folder, postgres_database, own={"qp": "approval_above = 500\n"}) as one:
        yield one


def case_of(stack: Stack, job: Job, kind: str) -> str:
    """The number of the refund's open case of that kind, once there is one."""

    def found() -> list[Any]:
        rows = json.loads(stack.refundry("case", "list", "--json"))
        return [row for row in rows if (row["subject"], row["kind"]) == (job["refund_no"], kind)]

    eventually(lambda: found() != [], f"{job['refund_no']} has a case {kind}")
    return str(found()[0]["id"])


def test_a_large_refund_is_sent_when_a_second_person_approves_it(stack: Stack) -> None:
    job = stack.job("qp", "LARGE", 600, operator="li")
    later = stack.job("qp", "LARGE", 100)
    stack.produce([job])
    number = case_of(stack, job, "approval")
    stack.produce([later])
    stack.await_states([later], {"queued"})
    stack.refundry("case", "approve", number, "--by=li", "--reason=mine", code=1)
    assert stack.sim.log(event="submit_in", order="LARGE") == []
    stack.refundry("case", "approve", number, "--by=wang", "--reason=asked the customer")
    stack.compare_with_the_book([job, later])
    sent = [one["refund"] for one in stack.sim.log(event="submit_in", order="LARGE")]
    assert sent == [job["refund_no"], later["refund_no"]]


def test_two_persons_settle_what_is_never_sent_again_and_the_next_refund_goes(
    stack: Stack,
) -> None:
    job = stack.plan(stack.job("ga", "LOST", 600), submit=["reset_before"])
    later = stack.job("ga", "LOST", 700)
    stack.produce([job])
    number = case_of(stack, job, "not_resendable")
    stack.refundry("case", "send", number, "--by=li", "--reason=again", code=1)
    stack.refundry("case", "ask", number, "--by=li", "--reason=the provider says it is there")
    said = ("--by=li", "--reason=not in the statement")
    stack.refundry("case", "settle", number, "--as=failed", *said)
    stack.refundry("case", "approve", number, *said, code=1)
    stack.refundry("case", "approve", number, "--by=wang", "--reason=nor in the back office")
    assert stack.rows()[job["refund_no"]].state == "failed"
    stack.produce([later])
    stack.compare_with_the_book([later])
    executed = [one["refund"] for one in stack.sim.log(event="EXECUTED", order=job["order_no"])]
    assert executed == [later["refund_no"]]
    assert json.loads(stack.refundry("case", "list", "--json")) == []
    stack.refundry("audit")
