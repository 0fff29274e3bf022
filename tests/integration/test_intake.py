"""Intake: a job becomes a refund once, or is refused with a reason that is kept and announced."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refundry import TASK_REQUEST
from tests.integration.builders import THREADS, Shop, race
from tests.integration.conftest import MakeShop
from worker.errors import ServiceAway
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.steps.intake import take_job

TOLD = {"task": "shop.told", "queue": "shop"}
#: Text as JSON can carry it into the service, without what no database stores as text.
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)
FIELDS = ("account", "order_no", "refund_no", "amount", "order_amount", "announce", "extra")


def counts(shop: Shop) -> tuple[int, int, int, int]:
    """Orders, refunds, events and announcements of acceptance."""
    tables = ("orders", "refunds", "events")
    numbers = [shop.value(f"SELECT count(*) FROM {table}") for table in tables]
    accepted = "SELECT count(*) FROM announcements WHERE event = 'accepted'"
    return (*numbers, shop.value(accepted))


def test_a_job_becomes_a_queued_refund_whose_amount_is_reserved(shop: Shop) -> None:
    accepted = shop.accept(announce=TOLD)
    assert not accepted.repeated
    assert counts(shop) == (1, 1, 1, 1)
    assert shop.state() == "queued"
    assert shop.value("SELECT reserved FROM orders") == 10
    assert shop.audit() == []


def test_repeating_a_job_changes_nothing(shop: Shop) -> None:
    first = shop.accept(announce=TOLD, reason="退货")
    again = shop.accept(announce=TOLD, reason="退货")
    assert again.repeated
    assert (again.order_id, again.refund_id) == (first.order_id, first.refund_id)
    assert counts(shop) == (1, 1, 1, 1)
    assert shop.value("SELECT reserved FROM orders") == 10


@pytest.mark.parametrize(
    "changed",
    [{"announce": {"task": "elsewhere"}}, {"expected_refunded": 0}, {"expected_refunded": 77}],
)
def test_where_to_announce_and_what_was_expected_make_no_other_refund(
    changed: dict[str, Any], shop: Shop
) -> None:
    shop.accept()
    assert shop.accept(**changed).repeated


def test_the_same_moment_in_another_spelling_is_the_same_refund(shop: Shop) -> None:
    shop.accept(paid_at="2026-01-31T12:00:00+08:00")
    assert shop.accept(paid_at="2026-01-31T04:00:00Z").repeated
    assert shop.accept(paid_at="2026-01-31T12:00:00").repeated


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": 11},
        {"order_no": "O2"},
        {"order_amount": 101},
        {"paid_amount": 99},
        {"paid_at": "2026-01-30T12:00:00+08:00"},
        {"reason": "other"},
        {"operator": "other"},
        {"items": [{"item_id": "1"}]},
        {"extra": {"store_no": "S2"}},
    ],
)
def test_a_used_number_never_takes_other_content(changed: dict[str, Any], shop: Shop) -> None:
    shop.accept()
    assert shop.refused(**changed) == "number_used"
    assert counts(shop) == (1, 1, 1, 0)
    assert shop.value("SELECT amount FROM refunds") == 10


def test_producers_that_ask_for_one_number_at_once_get_one_refund(shop: Shop) -> None:
    shops = shop.processes()
    job = {"announce": TOLD, "amount": 100, "expected_refunded": 0}
    taken = race(lambda number: shops[number % 2].accept(**job))
    assert sorted(accepted.repeated for accepted in taken) == [False] + [True] * (THREADS - 1)
    assert len({accepted.refund_id for accepted in taken}) == 1
    assert counts(shop) == (1, 1, 1, 1)


def test_producers_that_ask_for_one_number_with_other_amounts_get_one_refund(shop: Shop) -> None:
    shops = shop.processes()
    taken = race(lambda number: shops[number % 2].take(amount=number + 1))
    assert len([accepted for accepted in taken if accepted]) == 1
    assert shop.value("SELECT reserved FROM orders") == shop.value("SELECT amount FROM refunds")


@pytest.mark.parametrize("refunded_before", [0, 35])
def test_an_order_is_never_over_refunded_by_producers_at_once(
    refunded_before: int, shop: Shop
) -> None:
    shops = shop.processes()

    def ask(number: int) -> int:
        at = shops[number % 2]
        facts = {"paid_amount": 75, "refunded_before": refunded_before, "amount": 10}
        jobs = [f"R{number}x{turn}" for turn in range(3)]
        return sum(at.take(refund_no=refund_no, **facts) is not None for refund_no in jobs)

    taken = sum(race(ask))
    assert taken == (75 - refunded_before) // 10
    assert shop.value("SELECT reserved FROM orders") == taken * 10
    assert shop.value("SELECT count(*) FROM refunds") == taken
    codes = shop.rows("SELECT DISTINCT code FROM refused_jobs")
    assert [row.code for row in codes] == ["over_refund"]
    assert shop.audit() == []


def test_what_is_left_can_be_refunded_to_the_last_fen(shop: Shop) -> None:
    shop.accept(amount=99)
    assert shop.refused(refund_no="R2", amount=2) == "over_refund"
    shop.accept(refund_no="R3", amount=1)
    assert shop.value("SELECT reserved FROM orders") == 100


def test_a_double_click_with_a_new_number_is_stopped_by_what_was_expected(shop: Shop) -> None:
    shop.accept(expected_refunded=0)
    assert shop.refused(refund_no="R2", expected_refunded=0) == "expected_refunded"
    shop.accept(refund_no="R2", expected_refunded=10)
    before = {"order_no": "O2", "refunded_before": 30}
    assert shop.refused(refund_no="R3", expected_refunded=0, **before) == "expected_refunded"
    shop.accept(refund_no="R3", expected_refunded=30, **before)


def test_of_many_clicks_at_once_that_expect_the_same_one_counts(shop: Shop) -> None:
    taken = race(lambda number: shop.take(refund_no=f"R{number}", expected_refunded=0))
    assert len([accepted for accepted in taken if accepted]) == 1


def test_a_fact_of_an_order_that_was_absent_is_filled_in_once(shop: Shop) -> None:
    paid_at = "2026-01-30T12:00:00+08:00"
    shop.accept()
    shop.accept(refund_no="R2", paid_amount=90, refunded_before=20, paid_at=paid_at)
    shop.accept(refund_no="R3")
    shop.accept(refund_no="R4", paid_amount=90, refunded_before=20, paid_at=paid_at)
    (row,) = shop.rows("SELECT paid_amount, refunded_before FROM orders")
    assert tuple(row) == (90, 20)
    assert shop.audit() == []


@pytest.mark.parametrize(
    "contradiction",
    [
        {"order_amount": 99},
        {"order_amount": 101},
        {"paid_amount": 89},
        {"paid_amount": 91},
        {"refunded_before": 0},
        {"refunded_before": 21},
        {"paid_at": "2026-01-30T12:00:01+08:00"},
    ],
)
def test_a_contradiction_to_a_known_fact_is_refused(
    contradiction: dict[str, Any], shop: Shop
) -> None:
    paid_at = "2026-01-30T12:00:00+08:00"
    shop.accept(paid_amount=90, refunded_before=20, paid_at=paid_at)
    assert shop.refused(refund_no="R2", **contradiction) == "order_facts"
    (row,) = shop.rows("SELECT order_amount, paid_amount, refunded_before FROM orders")
    assert tuple(row) == (100, 90, 20)


def test_a_fact_that_comes_late_cannot_undo_what_was_accepted(shop: Shop) -> None:
    shop.accept(amount=80)
    assert shop.refused(refund_no="R2", amount=1, paid_amount=50) == "over_refund"
    assert shop.refused(refund_no="R2", amount=1, refunded_before=20) == "over_refund"
    assert shop.value("SELECT paid_amount FROM orders") == 100
    shop.accept(refund_no="R2", amount=1, refunded_before=19)


def test_a_refusal_leaves_no_order_and_burns_no_number(shop: Shop) -> None:
    assert shop.refused(expected_refunded=5) == "expected_refunded"
    assert shop.refused(extra={"shop": "S2"}) == "invalid"
    assert shop.refused(account="nobody") == "unknown_account"
    assert counts(shop) == (0, 0, 0, 0)
    assert not shop.accept(amount=20, order_amount=200).repeated


def test_a_refusal_is_kept_once_and_counted(shop: Shop) -> None:
    for _ in range(3):
        shop.refused(amount=0)
        shop.wait(timedelta(minutes=1))
    (row,) = shop.rows("SELECT code, times, account, refund_no, task, reason FROM refused_jobs")
    assert tuple(row)[:5] == ("invalid", 3, "shop", "R1", TASK_REQUEST)
    assert row.reason.startswith("amount: ")
    shop.refused(amount=-1)
    assert shop.value("SELECT count(*) FROM refused_jobs") == 2


def test_a_refusal_is_announced_where_the_job_says(shop: Shop) -> None:
    shop.refused(amount=0, announce=TOLD)
    (row,) = shop.rows("SELECT event, target, payload, refund_id FROM announcements")
    payload = row.payload if isinstance(row.payload, dict) else json.loads(row.payload)
    target = row.target if isinstance(row.target, dict) else json.loads(row.target)
    assert (row.event, row.refund_id, target) == ("refused", None, TOLD)
    assert set(payload) == {
        "event", "account", "order_no", "refund_no", "amount", "state", "provider_refund_no",
        "reason",
    }  # fmt: skip
    assert (payload["event"], payload["refund_no"], payload["amount"]) == ("refused", "R1", 0)


@pytest.mark.parametrize("announce", [None, {}, "x", {"url": "https://a.example"}, {"task": ""}])
def test_a_refusal_that_can_be_announced_nowhere_is_kept(announce: object, shop: Shop) -> None:
    assert shop.refused(amount=0, announce=announce) == "invalid"
    assert shop.value("SELECT count(*) FROM announcements") == 0


def test_accounts_of_one_merchant_share_orders_numbers_and_caps(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    both: dict[str, Any] = {"shop": {"merchant": "one"}, "till": {"merchant": "one"}}
    shop = make_shop(ledger, **both, other={"merchant": "two"})
    first = shop.accept(amount=60)
    assert shop.refused(account="till", refund_no="R2", amount=41) == "over_refund"
    assert shop.refused(account="till", amount=60) == "number_used"
    assert shop.accept(account="till", refund_no="R2", amount=40).order_id == first.order_id
    other = shop.accept(account="other", refund_no="R1", amount=100)
    assert other.order_id != first.order_id


def test_an_account_may_bound_how_often_an_order_is_refunded(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop={"max_refunds_per_order": 2})
    taken = race(lambda number: shop.take(refund_no=f"R{number}", amount=1))
    assert len([accepted for accepted in taken if accepted]) == 2
    (row,) = shop.rows("SELECT DISTINCT code FROM refused_jobs")
    assert row.code == "too_many_refunds"


def test_the_order_is_woken_even_if_the_message_that_wakes_it_is_lost(shop: Shop) -> None:
    accepted = shop.accept()
    (row,) = shop.rows("SELECT id FROM orders WHERE wake_at IS NOT NULL")
    assert row.id == accepted.order_id


def test_a_ledger_that_is_away_is_not_taken_for_a_refusal(shop: Shop) -> None:
    away = create_ledger_engine("postgresql+psycopg://refundry@127.0.0.1:9/refundry")
    runtime = replace(shop.runtime, ledger=Ledger(away))
    with pytest.raises(ServiceAway):
        take_job(runtime, TASK_REQUEST, shop.job())
    with pytest.raises(ServiceAway):
        take_job(runtime, TASK_REQUEST, {"no": "refund"})
    away.dispose()


@given(job=JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # one ledger takes them all
)
def test_whatever_arrives_is_recorded_and_never_raises(job: Any, shop: Shop) -> None:
    total = "SELECT coalesce(sum(times), 0) FROM refused_jobs"
    before = shop.value(total)
    assert take_job(shop.runtime, TASK_REQUEST, job) is None
    assert shop.value(total) == before + 1
    assert shop.value("SELECT count(*) FROM refunds") == 0


@given(field=st.sampled_from(FIELDS), value=JSON)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # one ledger takes them all
)
def test_a_job_with_one_wrong_field_is_taken_or_recorded(
    field: str, value: Any, shop: Shop
) -> None:
    before = shop.value("SELECT coalesce(sum(times), 0) FROM refused_jobs")
    if take_job(shop.runtime, TASK_REQUEST, shop.job(**{field: value})) is None:
        assert shop.value("SELECT sum(times) FROM refused_jobs") == before + 1


def test_a_doubt_is_kept_with_the_refund_and_refuses_nothing(shop: Shop) -> None:
    shop.accept(paid_amount=90)
    shop.accept(refund_no="R2", paid_amount=90, amount=80)
    shop.accept(refund_no="R3", order_no="O2", paid_amount=90, items=[{"item_no": "1"}])
    shop.accept(refund_no="R4", order_no="O3")
    details = shop.rows("SELECT detail FROM events ORDER BY refund_id")
    assert ["single-item coupon" in str(row.detail) for row in details] == [1, 1, 0, 0]
