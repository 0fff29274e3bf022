"""Callbacks and polling on real processes: either alone finishes a refund, and lies change none."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.service import eventually
from tests.e2e.stack import PROVIDERS, Job, Stack, running

_NOTIFY = 'notify_url = "{{gateway}}/callbacks/{0}"\n'
#: Ways to lose the answer of what the provider has executed.
_LOST = ("ok", "timeout_after", "reset_after", "http_500_after", "truncated", "garbage")
#: What notifications do beside telling the truth once.
_LIES = ("twice", "forged", "contradicting", "reordered", "wrong_amount", "late:0.5", "none")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, postgres_database: str) -> Iterator[Stack]:
    """``hk`` and ``ga`` are never asked; ``bf`` is both asked and notified."""
    folder = tmp_path_factory.mktemp("callbacks")
    own = {name: f"query = false\n{_NOTIFY.format(name)}" for name in ("hk", "ga")}
    own["bf"] = _NOTIFY.format("bf")
    with running(folder, postgres_database, own=own) as one:
        yield one


def jobs_of(stack: Stack, account: str, name: str, faults: tuple[str, ...]) -> list[Job]:
    """A refund of an order of its own for each fault of its submission."""
    jobs = [stack.job(account, f"{name}{number}", 100 + number) for number in range(len(faults))]
    return [stack.plan(job, submit=[fault]) for job, fault in zip(jobs, faults, strict=True)]


@pytest.mark.parametrize("account", ["hk", "ga"])
def test_callbacks_alone_finish_what_nobody_asks_about(stack: Stack, account: str) -> None:
    provider = PROVIDERS[account]
    stack.sim.control("dial", {"provider": provider, "settle_s": 0.5})
    jobs = jobs_of(stack, account, "TOLD", _LOST)
    jobs.append(stack.plan(stack.job(account, "TOLDP", 200), fate="pending:9"))
    stack.produce(jobs)
    stack.compare_with_the_book(jobs)
    assert stack.sim.log(event="query", provider=provider) == []
    shown = json.loads(stack.refundry("status", jobs[1]["refund_no"], "--json"))
    assert [one["verdict"] for one in shown["callbacks"]] == ["succeeded"]
    assert [event["kind"] for event in shown["events"]][-1] == "notified"


def test_a_decline_by_callback_counts_where_nobody_can_be_asked(stack: Stack) -> None:
    job = stack.plan(stack.job("hk", "TOLDNO", 100), fate="pending_decline:9")
    stack.produce([job])
    stack.await_states([job], {"failed"})
    stack.compare_with_the_book([job])
    assert stack.sim.log(event="query", provider="hkrt") == []


def test_polling_alone_finishes_what_no_callback_tells_of(stack: Stack) -> None:
    stack.sim.control("dial", {"provider": "baofu", "notify": {"none": 1}, "settle_s": None})
    jobs = jobs_of(stack, "bf", "ASKED", _LOST)
    fates = ("pending:2", "pending_decline:2", "unknown:2", "decline")
    jobs += [stack.plan(stack.job("bf", f"ASKEDF{fate[:3]}", 200), fate=fate) for fate in fates]
    stack.produce(jobs)
    stack.compare_with_the_book(jobs)
    for job in jobs:
        assert stack.sim.log(event="query", refund=job["refund_no"]) != []
        assert (
            json.loads(stack.refundry("callbacks", "--refund-no", job["refund_no"], "--json")) == []
        )


def test_lying_callbacks_leave_every_refund_as_the_book_says(stack: Stack) -> None:
    stack.sim.control("dial", {"provider": "baofu", "notify": {}})
    jobs = [stack.job("bf", f"LIES{number}", 100 + number) for number in range(len(_LIES))]
    for job, lie in zip(jobs, _LIES, strict=True):
        stack.plan(job, notify=[lie], fate="succeed")
    stack.produce(jobs)
    stack.compare_with_the_book(jobs)
    forged = jobs[_LIES.index("forged")]["refund_no"]
    contradicting = jobs[_LIES.index("contradicting")]["refund_no"]
    mismatched = jobs[_LIES.index("wrong_amount")]["refund_no"]
    eventually(lambda: stack.rows()[mismatched].case == "mismatched", "it has a case")
    eventually(lambda: stack.sim.log(event="notify", refund=contradicting) != [], "it was told")
    eventually(lambda: stack.sim.log(event="notify", refund=forged) != [], "it was sent")
    assert stack.rows()[contradicting].state == "succeeded"
    assert json.loads(stack.refundry("callbacks", "--refund-no", forged, "--json")) == []
    counts = json.loads(stack.refundry("callbacks", "refused", "--json"))
    assert ("bf", "forged") in {(row["account"], row["code"]) for row in counts}
    assert stack.overlaps() == []
