"""A provider that does not deduplicate: what may have been sent is never sent again by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from refundry import State
from tests.integration.builders import MINUTE, SOMEBODY, Shop, raw_event, run
from tests.integration.conftest import MakeShop
from tests.providers.conformance import SUBJECTS, Connected
from tests.providers.harness import OWN_OPTIONS, facts
from tests.simulator.harness import APPID, Sim
from worker.access_tokens import Tokens
from worker.errors import NotSent
from worker.ledger.engine import Ledger
from worker.refund import Outcome, Verdict
from worker.steps.command import resume
from worker.steps.poll import poll
from worker.steps.settle import settle
from worker.steps.submit import submit

IMPATIENT = {"read_timeout_s": 0.3, "total_timeout_s": 2.0}
OpenGat = Callable[..., Shop]


@pytest.fixture
def open_gat(ledger: Ledger, make_shop: MakeShop, sim: Sim) -> OpenGat:
    def make(**settings: Any) -> Shop:
        own = {"provider": "guanaitong", "base_url": f"{sim.url}/gat"}
        return make_shop(ledger, shop=own | OWN_OPTIONS["guanaitong"] | IMPATIENT | settings)

    return make


@pytest.fixture
def refund(number: str) -> dict[str, Any]:
    """A refund with numbers that begin with the appid."""
    named = {"order_no": f"{APPID}O{number}", "refund_no": f"{APPID}R{number}"}
    return {**named, "reason": "七天无理由"}


def submits(sim: Sim, refund: dict[str, Any]) -> int:
    return len(sim.log(event="submit_in", refund=refund["refund_no"]))


def cases(shop: Shop) -> list[str]:
    return [row.kind for row in shop.rows("SELECT kind FROM cases ORDER BY id")]


def let_time_pass(shop: Shop, order_id: int, rounds: int = 12) -> None:
    """Hours in which everything is asked and sent that is due."""
    for _ in range(rounds):
        shop.wait(10 * MINUTE)
        poll(shop.runtime)
        submit(shop.runtime, order_id)


def test_a_success_is_final_at_once_with_the_providers_number(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any]
) -> None:
    shop = open_gat()
    submit(shop.runtime, shop.accept(**refund).order_id)
    assert shop.state(refund["refund_no"]) is State.SUCCEEDED
    entry = sim.entry(refund["refund_no"])
    assert shop.value("SELECT provider_refund_no FROM refunds") == entry["provider_refund_no"]
    assert (entry["executions"], entry["amount"]) == (1, 10)
    assert shop.audit() == []


@pytest.mark.parametrize("fault", ["timeout_after", "truncated", "http_500_after", "reset_after"])
def test_what_was_executed_without_an_answer_is_found_by_asking_and_not_sent_again(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any], fault: str
) -> None:
    shop = open_gat()
    sim.plan("guanaitong", refund["refund_no"], submit=[fault], query=["not_found", "not_found"])
    order_id = shop.accept(**refund).order_id
    submit(shop.runtime, order_id)
    assert shop.state(refund["refund_no"]) is State.UNKNOWN
    let_time_pass(shop, order_id)
    assert shop.state(refund["refund_no"]) is State.SUCCEEDED
    assert submits(sim, refund) == 1
    assert sim.entry(refund["refund_no"])["executions"] == 1
    assert cases(shop) == []
    assert shop.audit() == []


@pytest.mark.parametrize("fault", ["timeout_before", "http_500_before", "reset_before"])
def test_what_the_provider_never_saw_is_handed_to_a_person_and_not_sent_again(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any], fault: str
) -> None:
    shop = open_gat()
    sim.plan("guanaitong", refund["refund_no"], submit=[fault])
    order_id = shop.accept(**refund).order_id
    shop.accept(**refund | {"refund_no": f"{refund['refund_no']}b"})
    submit(shop.runtime, order_id)
    let_time_pass(shop, order_id)
    assert shop.state(refund["refund_no"]) is State.UNKNOWN
    assert shop.state(f"{refund['refund_no']}b") is State.QUEUED
    assert cases(shop) == ["not_resendable"]
    assert submits(sim, refund) == 1
    assert sim.log(event="EXECUTED", refund=refund["refund_no"]) == []
    assert shop.audit() == []


def test_a_number_that_exists_at_the_first_attempt_is_handed_to_a_person(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any]
) -> None:
    shop = open_gat()
    order_id = shop.accept(**refund).order_id
    execute_elsewhere(shop, refund)
    submit(shop.runtime, order_id)
    assert shop.state(refund["refund_no"]) is State.UNKNOWN
    assert cases(shop) == ["number_taken"]
    assert shop.value("SELECT code FROM attempts") == "1000210777"
    submit(shop.runtime, order_id)
    assert submits(sim, refund) == 2
    assert shop.audit() == []


def execute_elsewhere(shop: Shop, refund: dict[str, Any]) -> None:
    """Somebody else uses the number for another amount, and nobody here knows of it."""
    line = shop.runtime.lines["shop"]
    (subject,) = [one for one in SUBJECTS if one.name == "guanaitong"]
    outcome = Connected(subject, line.provider, line.wire).submit(facts(**refund, amount=7))
    assert outcome is not None
    assert outcome.verdict is Verdict.SUCCEEDED


def test_a_number_that_exists_after_an_attempt_without_an_answer_is_asked_about(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any]
) -> None:
    """It is sent again all the same, after which it turns out to have been executed."""
    shop = open_gat()
    sim.plan("guanaitong", refund["refund_no"], submit=["timeout_after"], query=["timeout"])
    order_id = shop.accept(**refund).order_id
    submit(shop.runtime, order_id)
    queue_again(shop)
    submit(shop.runtime, order_id)
    assert shop.state(refund["refund_no"]) is State.UNKNOWN
    assert cases(shop) == []
    assert submits(sim, refund) == 2
    let_time_pass(shop, order_id)
    assert shop.state(refund["refund_no"]) is State.SUCCEEDED
    assert sim.entry(refund["refund_no"])["executions"] == 1
    assert submits(sim, refund) == 2


def queue_again(shop: Shop) -> None:
    """No step does this at such a provider, on nobody's word."""
    with shop.runtime.ledger.write() as connection:
        refund_id, seq = shop.rows("SELECT id, event_seq FROM refunds")[0]
        raw_event(connection, refund_id, seq + 1, "queued")
        queued = "state = 'queued', event_seq = event_seq + 1, due_at = NULL"
        run(connection, f"UPDATE refunds SET {queued}")


def test_a_decline_of_a_listed_code_is_final_and_any_other_is_asked_about(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any]
) -> None:
    sim.plan("guanaitong", refund["refund_no"], fate="decline")
    shop = open_gat()
    order_id = shop.accept(**refund).order_id
    submit(shop.runtime, order_id)
    assert shop.state(refund["refund_no"]) is State.UNKNOWN
    let_time_pass(shop, order_id, 1)
    assert shop.state(refund["refund_no"]) is State.FAILED
    listed = open_gat(definitive_codes=[1000210900])
    other = refund | {"refund_no": f"{refund['refund_no']}b"}
    sim.plan("guanaitong", other["refund_no"], fate="decline")
    order_id = listed.accept(**other).order_id
    submit(listed.runtime, order_id)
    assert listed.state(other["refund_no"]) is State.FAILED


def test_a_refused_token_is_renewed_and_the_refund_goes_again(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any]
) -> None:
    shop = open_gat()
    sim.plan("guanaitong", refund["refund_no"], submit=["token_refused"])
    order_id = shop.accept(**refund).order_id
    submit(shop.runtime, order_id)
    assert shop.state(refund["refund_no"]) is State.QUEUED
    row = shop.rows("SELECT sent, open_sent, attempt FROM refunds")[0]
    assert tuple(row) == (0, 0, 1)
    assert shop.value("SELECT status FROM attempts") == "busy"
    made = len(sim.log(event="answered", path="/token/create"))
    submit(shop.runtime, order_id)  # not before a moment has passed
    assert submits(sim, refund) == 1
    shop.wait(MINUTE)
    submit(shop.runtime, order_id)
    assert shop.state(refund["refund_no"]) is State.SUCCEEDED
    assert len(sim.log(event="answered", path="/token/create")) == made + 1
    assert shop.value("SELECT paused_at FROM accounts") is None
    assert shop.audit() == []


def test_a_token_refused_twice_running_pauses_the_account(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_gat()
    sim.plan("guanaitong", refund["refund_no"], submit=["token_refused", "token_refused"])
    order_id = shop.accept(**refund).order_id
    submit(shop.runtime, order_id)
    away(monkeypatch, lambda: submit_later(shop, order_id))  # what is never sent is between them
    submit_later(shop, order_id)
    assert shop.value("SELECT paused_reason FROM accounts") == "1000210004"
    assert shop.state(refund["refund_no"]) is State.QUEUED
    submit_later(shop, order_id)
    assert submits(sim, refund) == 2
    assert shop.audit() == []
    resume(shop.runtime.ledger, "shop", SOMEBODY)
    submit_later(shop, order_id)
    assert shop.state(refund["refund_no"]) is State.SUCCEEDED
    assert cases(shop) == []


def test_a_token_that_redis_cannot_forget_is_one_token_however_often_it_is_refused(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any]
) -> None:
    shop = open_gat()
    make_token(shop)
    spoil_token(shop)
    order_id = shop.accept(**refund).order_id
    with takes_no_writes(shop):
        submit_later(shop, order_id)
        submit_later(shop, order_id)
    submit_later(shop, order_id)  # now it is forgotten
    assert {row.code for row in shop.rows("SELECT code FROM attempts")} == {"1000210004"}
    assert shop.value("SELECT paused_at FROM accounts") is None
    submit_later(shop, order_id)
    assert shop.state(refund["refund_no"]) is State.SUCCEEDED
    assert submits(sim, refund) == 1  # the others were turned away at the door


def test_a_token_that_is_refused_after_another_trouble_is_the_first(
    open_gat: OpenGat, refund: dict[str, Any]
) -> None:
    shop = open_gat()
    order_id = shop.accept(**refund).order_id
    for verdict in (Verdict.BUSY, Verdict.TOKEN):
        intent = shop.claim(order_id)
        assert intent is not None
        settle(shop.runtime, intent, Outcome(verdict=verdict, code=verdict, message=verdict))
        shop.wait(10 * MINUTE)
    assert shop.value("SELECT paused_at FROM accounts") is None


def submit_later(shop: Shop, order_id: int) -> None:
    shop.wait(10 * MINUTE)
    submit(shop.runtime, order_id)


def away(monkeypatch: pytest.MonkeyPatch, step: Callable[[], None]) -> None:
    """Do something while no token can be had."""

    def none(*_: object) -> str:
        raise NotSent("no access token")

    with monkeypatch.context() as patched:
        patched.setattr(Tokens, "get", none)
        step()


def test_without_a_token_nothing_is_sent_and_the_refund_waits(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_gat()
    order_id = shop.accept(**refund).order_id
    away(monkeypatch, lambda: submit_later(shop, order_id))
    assert shop.state(refund["refund_no"]) is State.QUEUED
    assert shop.value("SELECT message FROM attempts") == "no access token"
    assert shop.value("SELECT sent FROM refunds") == 0
    assert submits(sim, refund) == 0
    submit_later(shop, order_id)
    assert shop.state(refund["refund_no"]) is State.SUCCEEDED


def test_a_token_that_is_not_known_any_more_is_renewed_for_a_question_as_well(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any]
) -> None:
    shop = open_gat()
    sim.plan("guanaitong", refund["refund_no"], submit=["timeout_after"])
    order_id = shop.accept(**refund).order_id
    submit(shop.runtime, order_id)
    spoil_token(shop)
    shop.wait(10 * MINUTE)
    poll(shop.runtime)
    assert shop.state(refund["refund_no"]) is State.UNKNOWN
    assert "1000210004" in shop.value("SELECT last_answer FROM refunds")
    assert shop.value("SELECT paused_at FROM accounts") is None
    shop.wait(10 * MINUTE)
    poll(shop.runtime)
    assert shop.state(refund["refund_no"]) is State.SUCCEEDED


def make_token(shop: Shop) -> None:
    """One is kept before anything is sent."""
    line = shop.runtime.lines["shop"]
    assert line.tokened is not None
    shop.runtime.tokens.get(line.account, line.tokened, line.wire)


def spoil_token(shop: Shop) -> None:
    """The token that is kept is one that the provider does not know."""
    line = shop.runtime.lines["shop"]
    key = f"refundry:token:{line.provider.merchant}@{line.account.base_url}"
    shop.runtime.tokens._redis.hset(key, "value", "0" * 32)


@contextmanager
def takes_no_writes(shop: Shop) -> Iterator[None]:
    """Redis answers, as one does whose replicas are away, but changes nothing."""
    client = shop.runtime.tokens._redis
    client.config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        client.config_set("min-replicas-to-write", 0)


def test_a_provider_that_gives_no_token_to_an_unknown_app_pauses_the_account_and_fails_nothing(
    open_gat: OpenGat, sim: Sim, refund: dict[str, Any], number: str
) -> None:
    shop = open_gat(appid=number, appsecret="HUNTER2")
    numbers = {name: text.replace(APPID, number) for name, text in refund.items()}
    order_id = shop.accept(**numbers).order_id
    submit(shop.runtime, order_id)
    assert shop.state(numbers["refund_no"]) is State.QUEUED
    assert shop.value("SELECT paused_reason FROM accounts") == "1000210003"
    assert "HUNTER2" not in str(shop.rows("SELECT * FROM attempts"))
    assert submits(sim, numbers) == 0
    assert shop.audit() == []


def test_a_wrong_set_up_that_the_answer_shows_pauses_the_account(
    open_gat: OpenGat, refund: dict[str, Any]
) -> None:
    shop = open_gat()
    intent = shop.claim(shop.accept(**refund).order_id)
    assert intent is not None
    settle(shop.runtime, intent, Outcome(verdict=Verdict.MISCONFIGURED, code="1000210001"))
    assert shop.value("SELECT paused_reason FROM accounts") == "1000210001"
    assert shop.state(refund["refund_no"]) is State.QUEUED
