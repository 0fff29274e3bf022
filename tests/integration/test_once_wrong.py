"""What was once got wrong: each of these was a fault that a search of all orders of events,
or an enemy, has found."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import QueuePool, create_engine

from config.accounts import load_accounts
from config.errors import ConfigError
from refundry import TASK_REQUEST, State
from tests.integration.builders import MINUTE, NOW, SOMEBODY, Shop
from tests.integration.conftest import MakeShop
from tests.integration.notifications import EXECUTED, due_in, hkrt_account, notification, take
from tests.unit.builders import RULES, after, answered, asked, broken_promises, first_sent
from tests.unit.test_refund import sent_twice
from worker.decisions import begin, decide_answer, decide_question
from worker.errors import ServiceAway
from worker.ledger import journal
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.ledger.refunds import order_and_refund
from worker.refund import Attempt, Case, Outcome, Question, Standing, Verdict
from worker.steps.command import pause
from worker.steps.intake import take_job
from worker.steps.poll import Claimed, apply, poll
from worker.steps.settle import settle
from worker.steps.submit import call_provider, facts_of
from worker.steps.sweep import sweep


def test_a_late_rejection_of_the_last_open_attempt_ends_the_refund() -> None:
    standing = after(answered(sent_twice(), Verdict.REJECTED))
    change = answered(standing, Verdict.REJECTED, attempt=1, was=Attempt.UNKNOWN)
    assert change is not None
    assert change.standing.state is State.FAILED
    assert not broken_promises(standing, change)


def test_what_the_provider_calls_pending_is_not_closed_by_a_late_rejection() -> None:
    pending = after(asked(after(answered(first_sent(), Verdict.UNKNOWN)), Verdict.PENDING))
    assert answered(pending, Verdict.REJECTED, attempt=1, was=Attempt.UNKNOWN) is None


def test_a_success_that_came_from_no_attempt_of_ours_is_contradicted() -> None:
    done = after(asked(after(answered(first_sent(), Verdict.UNKNOWN)), Verdict.SUCCEEDED))
    change = answered(done, Verdict.NEVER_SENT, attempt=1, was=Attempt.UNKNOWN)
    assert change is not None
    assert change.case is Case.CONTRADICTED
    assert change.freezes


def test_checks_have_the_names_that_the_code_gives_them(shop: Shop) -> None:
    if shop.runtime.ledger.engine.dialect.name == "postgresql":
        names = shop.rows("SELECT conname FROM pg_constraint WHERE contype = 'c'")
        assert "ck_orders_not_over" in [row.conname for row in names]


def test_what_was_let_go_never_holds_its_order_again() -> None:
    early = replace(RULES, releases_on_acceptance=True)
    let_go = after(answered(first_sent(), Verdict.PENDING, rules=early))
    change = asked(let_go, Verdict.PENDING, rules=RULES)  # the account was set to until_final
    assert change is None or not change.standing.holds


def test_opening_a_case_says_so(shop: Shop) -> None:
    refund_id = shop.accept().refund_id
    with shop.runtime.ledger.write() as connection:
        assert journal.open_case(connection, refund_id, Case.AGED, {}, NOW)
        assert not journal.open_case(connection, refund_id, Case.AGED, {}, NOW)


def test_a_decline_after_success_stops_the_order_and_has_an_event(shop: Shop) -> None:
    accepted = shop.accept()
    intent = shop.claim(accepted.order_id)
    assert intent is not None
    shop.settle(intent, Verdict.SUCCEEDED)
    with shop.runtime.ledger.read() as connection:
        order, refund = order_and_refund(connection, accepted.refund_id)
    claimed = Claimed(order=order, refund=refund, line=intent.line, after_grace=True)
    apply(shop.runtime, claimed, Outcome(verdict=Verdict.REJECTED))
    assert shop.value("SELECT kind FROM cases") == "contradicted"
    assert shop.value("SELECT count(*) FROM events WHERE kind = 'contradicted'") == 1
    assert shop.value("SELECT frozen_at FROM orders") is not None


BAD: dict[str, Any] = {
    "a NUL in a field's name": {"a\x00b": 1},
    "half a character in the account": {"account": "\ud800"},
    "half a character in the number": {"refund_no": "\ud800"},
    "a NUL in an announced number": {"announce": {"task": "t"}, "refund_no": "R\x00"},
    "half a character in an announced number": {"announce": {"task": "t"}, "refund_no": "\ud800"},
    "a time before the first": {"paid_at": "0001-01-01T00:00:00+08:00"},
    "a time after the last": {"paid_at": "9999-12-31T23:59:59-08:00"},
}


@pytest.mark.parametrize("how", BAD)
def test_whatever_arrives_is_recorded(how: str, shop: Shop) -> None:
    job = shop.job(**BAD[how]) if "paid_at" in BAD[how] else BAD[how]
    assert take_job(shop.runtime, TASK_REQUEST, job) is None
    assert shop.value("SELECT count(*) FROM refused_jobs") == 1


def test_what_can_be_decoded_can_be_recorded(shop: Shop) -> None:
    for depth in range(900, 1000):
        try:
            job = json.loads('{"a":' + "[" * depth + "]" * depth + "}")
        except RecursionError:
            break
        assert take_job(shop.runtime, TASK_REQUEST, job) is None, depth


@pytest.mark.parametrize("bad", ["accounts = 3", "[[accounts]]\nprovider = 'quickpay'"])
def test_accounts_that_are_no_tables_are_named(bad: str, tmp_path: Any) -> None:
    path = tmp_path / "accounts.toml"
    path.write_text(bad)
    with pytest.raises(ConfigError, match=r"accounts\.toml"):
        load_accounts(path)


def test_an_order_claimed_while_its_account_is_paused_is_looked_at_again(shop: Shop) -> None:
    accepted = shop.accept()
    pause(shop.runtime.ledger, "shop", SOMEBODY)
    assert shop.claim(accepted.order_id) is None
    assert shop.value("SELECT wake_at FROM orders") is not None


def test_a_call_that_cannot_be_built_was_never_sent(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None

    def broken(facts: object) -> None:
        raise KeyError(facts)

    monkeypatch.setattr(intent.line.provider, "submission", broken)
    assert call_provider(shop.runtime, intent).verdict is Verdict.NEVER_SENT


def test_an_attempt_whose_refund_has_succeeded_meanwhile_is_reaped_once(shop: Shop) -> None:
    accepted = shop.accept()
    intent = shop.claim(accepted.order_id)
    assert intent is not None
    with shop.runtime.ledger.read() as connection:
        order, refund = order_and_refund(connection, accepted.refund_id)
    claimed = Claimed(order=order, refund=refund, line=intent.line, after_grace=False)
    apply(shop.runtime, claimed, Outcome(verdict=Verdict.SUCCEEDED))
    shop.wait(MINUTE)
    assert sweep(shop.runtime).reaped == 1
    assert shop.value("SELECT status FROM attempts") == Attempt.UNKNOWN
    assert shop.state() is State.SUCCEEDED
    assert sweep(shop.runtime).reaped == 0
    assert shop.audit() == []


def test_a_late_answer_that_shows_the_number_is_known_forbids_sending_it_again() -> None:
    requeued = Standing(state=State.QUEUED, attempt=1, sent=1, open_sent=1)
    change = answered(requeued, Verdict.PENDING, was=Attempt.UNKNOWN)
    assert change is not None
    assert not broken_promises(requeued, change)
    lost = after(answered(begin(change.standing).standing, Verdict.UNKNOWN))
    vanished = asked(lost, Verdict.NOT_FOUND)
    assert vanished is not None
    assert vanished.case is Case.VANISHED


def test_an_unclear_answer_with_the_providers_own_number_shows_that_it_knows_ours() -> None:
    unclear = Outcome(verdict=Verdict.UNKNOWN, provider_refund_no="P1")
    told = decide_answer(first_sent(), 1, Attempt.STARTED, unclear, RULES)
    lost = after(answered(first_sent(), Verdict.UNKNOWN))
    question = Question(attempt=1, state=State.UNKNOWN, after_grace=True, known=False)
    replied = decide_question(lost, question, unclear, RULES, NOW)
    for change in (told, replied):
        assert after(change).state is State.UNKNOWN
        vanished = asked(after(change), Verdict.NOT_FOUND)
        assert vanished is not None
        assert vanished.case is Case.VANISHED


def test_an_answer_that_comes_after_its_news_still_brings_the_providers_number(shop: Shop) -> None:
    accepted = shop.accept()
    intent = shop.claim(accepted.order_id)
    assert intent is not None
    with shop.runtime.ledger.read() as connection:
        order, refund = order_and_refund(connection, accepted.refund_id)
    claimed = Claimed(order=order, refund=refund, line=intent.line, after_grace=False)
    apply(shop.runtime, claimed, Outcome(verdict=Verdict.SUCCEEDED))
    settle(shop.runtime, intent, Outcome(verdict=Verdict.SUCCEEDED, provider_refund_no="P1"))
    assert shop.value("SELECT provider_refund_no FROM refunds") == "P1"
    settle(shop.runtime, intent, Outcome(verdict=Verdict.SUCCEEDED, provider_refund_no="P2"))
    assert shop.value("SELECT provider_refund_no FROM refunds") == "P1"
    assert shop.audit() == []


def test_the_number_of_an_attempt_that_was_turned_down_is_not_the_next_ones(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop=hkrt_account(funds_same_number=True))
    order_id = shop.accept().order_id
    short = shop.claim(order_id)
    assert short is not None
    settle(shop.runtime, short, Outcome(verdict=Verdict.FUNDS, provider_refund_no="WX0"))
    assert shop.value("SELECT provider_refund_no FROM refunds") == "WX0"
    shop.wait(60 * MINUTE)
    again = shop.claim(order_id)
    assert again is not None
    asked_by = again.line.provider.question(facts_of(again.order, again.refund)).body
    assert b"WX0" not in asked_by
    shop.settle(again, Verdict.UNKNOWN)
    take(shop, notification(EXECUTED))  # under WX1
    assert shop.state() is State.SUCCEEDED
    assert shop.value("SELECT provider_refund_no FROM refunds") == "WX1"
    assert shop.rows("SELECT * FROM cases") == []
    assert shop.audit() == []


def test_a_success_that_was_told_before_anything_was_sent_is_watched_like_any_other(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop=hkrt_account())
    shop.accept()
    take(shop, notification(EXECUTED))
    assert shop.state() is State.SUCCEEDED
    shop.wait(24 * 60 * MINUTE)
    assert poll(shop.runtime).asked == 1
    assert (due_in(shop) or MINUTE) > 60 * MINUTE


def test_a_ledger_whose_connections_all_hang_is_away(tmp_path: Path) -> None:
    url, pool = f"sqlite:///{tmp_path}/ledger.sqlite", {"pool_size": 1, "max_overflow": 0}
    ledger = Ledger(create_engine(url, poolclass=QueuePool, pool_timeout=0.05, **pool))
    with ledger.engine.connect(), pytest.raises(ServiceAway, match="every connection"):
        with ledger.write():
            pass
    ledger.engine.dispose()


def test_a_damaged_ledger_is_not_taken_for_a_refusal(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "damaged").write_text("somebody's notes" * 500)
    damaged = create_ledger_engine(f"sqlite:///{tmp_path / 'damaged'}")
    runtime = replace(shop.runtime, ledger=Ledger(damaged))
    with pytest.raises(ServiceAway, match="not a database"):
        take_job(runtime, TASK_REQUEST, shop.job())
    damaged.dispose()
