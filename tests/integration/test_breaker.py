"""The breaker pauses sending, never asking, while a provider gives no answers; nothing fails."""

from datetime import timedelta
from typing import Any

import pytest

from refundry import State
from tests.integration.builders import MINUTE, SOMEBODY, Shop, race, run
from tests.integration.conftest import MakeShop
from tests.integration.test_indexes import recorded
from tests.simulator.harness import Sim
from worker.case_rules import AccountDeed
from worker.ledger.accounts import Word, add_account_entry
from worker.ledger.engine import Ledger
from worker.ledger.reports import account_rows
from worker.refund import Outcome, Verdict
from worker.steps.command import pause, resume
from worker.steps.intent import Intent
from worker.steps.poll import poll
from worker.steps.settle import settle
from worker.steps.submit import call_provider, submit
from worker.steps.sweep import sweep

SECOND = timedelta(seconds=1)
RESET = 30 * SECOND
#: The account that these tests have: three calls without an answer open its breaker.
QUICK = {"breaker_failures": 3}
SILENCE = Outcome(verdict=Verdict.UNKNOWN, code="no_answer", unanswered=True)
ANSWER = Outcome(verdict=Verdict.BUSY)


@pytest.fixture
def shop(ledger: Ledger, make_shop: MakeShop) -> Shop:
    """A shop whose provider refuses connections, and whose breaker opens early."""
    return make_shop(ledger, shop=QUICK)


def claimed(shop: Shop, name: str, **job: Any) -> Intent | None:
    """A refund of an order of its own, claimed if anything may go."""
    return shop.claim(shop.accept(order_no=f"O{name}", refund_no=f"R{name}", **job).order_id)


def call(shop: Shop, name: str, outcome: Outcome) -> None:
    """A call that ends as is said."""
    intent = claimed(shop, name)
    assert intent is not None
    settle(shop.runtime, intent, outcome)


def open_breaker(shop: Shop) -> None:
    for number in range(3):
        call(shop, f"silent{number}", SILENCE)


def breaker(shop: Shop) -> tuple[int, timedelta | None]:
    """Failures in a row, and for how long the breaker is open from now."""
    with shop.runtime.ledger.read() as connection:
        (row,) = account_rows(connection, shop.clock.now)
    until = row.breaker_until
    return row.failures, until - shop.clock.now if until else None


def test_a_provider_that_cannot_be_reached_is_left_alone_and_nothing_fails(shop: Shop) -> None:
    for number in range(6):
        submit(shop.runtime, shop.accept(order_no=f"O{number}", refund_no=f"R{number}").order_id)
    assert breaker(shop) == (3, RESET)
    assert shop.value("SELECT count(*) FROM attempts") == 3
    assert shop.value("SELECT count(*) FROM refunds WHERE state = 'queued'") == 6
    assert {row.code for row in shop.rows("SELECT code FROM attempts")} == {"unreached"}


def test_an_order_that_waits_for_the_breaker_is_woken_when_its_time_has_passed(shop: Shop) -> None:
    open_breaker(shop)
    order_id = shop.accept().order_id
    assert not submit(shop.runtime, order_id)
    assert shop.value("SELECT count(*) FROM attempts WHERE status = 'started'") == 0
    shop.wait(RESET - SECOND)
    assert order_id not in sweep(shop.runtime).wake
    shop.wait(SECOND)
    assert order_id in sweep(shop.runtime).wake
    assert shop.claim(order_id) is not None


def test_only_calls_in_a_row_open_it(shop: Shop) -> None:
    for turn in range(3):
        call(shop, f"{turn}a", SILENCE)
        call(shop, f"{turn}b", SILENCE)
        call(shop, f"{turn}c", ANSWER)
        assert breaker(shop) == (0, None)


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_its_time_scales(scale: float, ledger: Ledger, make_shop: MakeShop) -> None:
    shop = make_shop(ledger, shop=QUICK | {"time_scale": scale, "breaker_reset_s": 100})
    open_breaker(shop)
    assert breaker(shop) == (3, 100 * SECOND * scale)


def test_when_its_time_has_passed_exactly_one_call_goes(
    postgres_ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(postgres_ledger, shop=QUICK)
    ids = [shop.accept(order_no=f"O{n}", refund_no=f"R{n}").order_id for n in range(8)]
    for turn in range(5):
        shop.execute("UPDATE accounts SET failures = 3, breaker_until = :now", now=shop.clock.now)
        intents = race(lambda number: shop.claim(ids[number]))
        (trial,) = [intent for intent in intents if intent]
        assert [shop.claim(order_id) for order_id in ids] == [None] * 8
        later = shop.rows("SELECT id FROM orders WHERE wake_at = :at", at=shop.clock.now + RESET)
        assert len(later) == 7, turn
        settle(shop.runtime, trial, Outcome(verdict=Verdict.NEVER_SENT))
        shop.wait(MINUTE)


def test_an_answer_to_the_trial_closes_it(shop: Shop) -> None:
    open_breaker(shop)
    shop.wait(RESET)
    call(shop, "trial", ANSWER)
    assert breaker(shop) == (0, None)
    assert claimed(shop, "1") is not None
    assert claimed(shop, "2") is not None


def test_no_answer_to_the_trial_opens_it_again(shop: Shop) -> None:
    open_breaker(shop)
    shop.wait(RESET)
    call(shop, "trial", SILENCE)
    assert breaker(shop) == (4, RESET)
    assert claimed(shop, "1") is None


def test_a_trial_whose_worker_dies_runs_out_by_itself(shop: Shop) -> None:
    open_breaker(shop)
    shop.wait(RESET)
    dead = claimed(shop, "dead")
    assert dead is not None
    shop.wait(RESET - SECOND)
    assert claimed(shop, "1") is None
    shop.wait(SECOND)
    assert claimed(shop, "2") is not None
    assert claimed(shop, "3") is None


def test_a_trial_lasts_as_long_as_its_call_may(ledger: Ledger, make_shop: MakeShop) -> None:
    shop = make_shop(ledger, shop=QUICK | {"breaker_reset_s": 1})
    open_breaker(shop)
    shop.wait(SECOND)
    assert claimed(shop, "trial") is not None
    account = shop.runtime.lines["shop"].account
    lasts = timedelta(seconds=account.send_deadline_s + account.total_timeout_s)
    assert breaker(shop) == (3, lasts)
    order_id = shop.accept(order_no="O1", refund_no="R1").order_id
    assert shop.claim(order_id) is None
    shop.wait(SECOND)
    assert order_id in sweep(shop.runtime).wake


def test_what_was_claimed_before_it_opened_is_not_sent_but_the_trial_is(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url, shop=QUICK)
    early = claimed(shop, number)
    assert early is not None
    open_breaker(shop)
    for wait in (timedelta(), 2 * MINUTE):
        shop.wait(wait)
        assert call_provider(shop.runtime, early).verdict is Verdict.NEVER_SENT
    trial = claimed(shop, f"{number}t")
    assert trial is not None
    assert call_provider(shop.runtime, early).verdict is Verdict.NEVER_SENT
    assert sim.log(event="submit_in", refund=f"R{number}") == []
    assert call_provider(shop.runtime, trial).verdict is Verdict.SUCCEEDED


@pytest.mark.parametrize("late", [SILENCE, ANSWER], ids=["silence", "answer"])
def test_a_call_that_began_before_it_opened_does_not_move_it(late: Outcome, shop: Shop) -> None:
    call(shop, "first", SILENCE)
    early = claimed(shop, "early")
    assert early is not None
    call(shop, "second", SILENCE)
    call(shop, "third", SILENCE)
    shop.wait(10 * SECOND)
    settle(shop.runtime, early, late)
    assert breaker(shop) == (3, RESET - 10 * SECOND)


def test_what_we_keep_back_ourselves_counts_neither_way(
    ledger: Ledger, make_shop: MakeShop, sim: Sim
) -> None:
    shop = make_shop(ledger, sim.url, shop=QUICK)
    call(shop, "silent", SILENCE)
    for name in "abc":
        intent = claimed(shop, name)
        assert intent is not None
        pause(shop.runtime.ledger, "shop", SOMEBODY)
        outcome = call_provider(shop.runtime, intent)
        assert outcome.verdict is Verdict.NEVER_SENT
        settle(shop.runtime, intent, outcome)
        with shop.runtime.ledger.write() as connection:  # unlike a person, without a look at it
            word = Word(reason="test")
            add_account_entry(connection, "shop", AccountDeed.RESUMED, word, shop.clock.now)
            run(connection, "UPDATE accounts SET paused_at = NULL, paused_reason = NULL")
    assert breaker(shop) == (1, None)


def test_an_answer_that_cannot_be_trusted_counts(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url, shop=QUICK)
    for turn, fault in enumerate(("garbage", "http_500_after", "reset_before")):
        sim.plan("quickpay", f"R{number}{turn}", submit=[fault])
        assert breaker(shop) == (turn, None)
        submit(
            shop.runtime, shop.accept(order_no=f"O{turn}", refund_no=f"R{number}{turn}").order_id
        )
    assert breaker(shop) == (3, RESET)


def test_asking_goes_on_while_it_is_open_and_changes_nothing_of_it(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url, shop=QUICK)
    refund_no = f"R{number}"
    sim.plan("quickpay", refund_no, submit=["reset_after"])
    submit(shop.runtime, shop.accept(order_no=f"O{number}", refund_no=refund_no).order_id)
    call(shop, "second", SILENCE)
    call(shop, "third", SILENCE)
    shop.wait(2 * MINUTE)
    shop.execute("UPDATE accounts SET breaker_until = :at", at=shop.clock.now + RESET)
    assert poll(shop.runtime).asked == 3
    assert shop.state(refund_no) == State.SUCCEEDED
    assert breaker(shop) == (3, RESET)


def test_resuming_closes_it_and_wakes_what_waits(shop: Shop) -> None:
    open_breaker(shop)
    order_id = shop.accept().order_id
    assert shop.claim(order_id) is None
    resume(shop.runtime.ledger, "shop", SOMEBODY)
    assert breaker(shop) == (0, None)
    assert order_id in sweep(shop.runtime).wake
    assert shop.claim(order_id) is not None


def test_what_waits_for_it_is_no_backlog(ledger: Ledger, make_shop: MakeShop) -> None:
    shop = make_shop(ledger, shop=QUICK | {"breaker_reset_s": 86_400})
    for number in range(3):
        call(shop, f"{number}", Outcome(verdict=Verdict.NEVER_SENT, unanswered=True))
    shop.accept()
    shop.wait(60 * MINUTE)
    assert shop.audit() == []
    shop.wait(86_400 * SECOND)
    assert {one.promise for one in shop.audit()} == {"I10"}


def test_a_healthy_account_pays_no_statement_for_it(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url, shop=QUICK)
    order_id = shop.accept(order_no=f"O{number}", refund_no=number).order_id
    with recorded(ledger.engine) as statements:
        submit(shop.runtime, order_id)
    assert shop.state(number) == State.SUCCEEDED
    asked = [statement for statement, _ in statements if not statement.startswith("BEGIN")]
    assert len(asked) == 17
    assert not [statement for statement in asked if "UPDATE accounts" in statement]
