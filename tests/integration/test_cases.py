"""What one person does about a case: all of it written down, and none of it settles money."""

from datetime import timedelta
from typing import Any

import pytest

from refundry import State
from tests.integration.builders import MINUTE, Shop
from tests.integration.conftest import MakeShop
from tests.integration.test_settlements import (
    LI,
    WANG,
    breaches,
    by_two,
    case_of,
    contradicted,
    hear,
    sent,
)
from worker.errors import Refused
from worker.ledger.engine import Ledger
from worker.ledger.journal import open_case_about
from worker.refund import Case, Verdict
from worker.steps.cases import ask, assign, close, note, send
from worker.steps.command import cancel_refund
from worker.steps.holds import hold_order, release_by_hand, release_order
from worker.steps.poll import accounts_due
from worker.steps.settlements import propose
from worker.steps.sweep import sweep

HOUR = timedelta(hours=1)


def entries(shop: Shop, case_id: int) -> list[tuple[str, str, str]]:
    """Who did what, and why."""
    sql = "SELECT who, what, reason FROM case_entries WHERE case_id = :id ORDER BY id"
    return [(row.who, row.what, row.reason) for row in shop.rows(sql, id=case_id)]


def test_a_case_is_noted_on_and_given_to_somebody(shop: Shop) -> None:
    case_id = case_of(shop, sent(shop, Verdict.UNKNOWN))
    note(shop.runtime, case_id, LI)
    assert assign(shop.runtime, case_id, " wang ", LI).owner == "wang"
    assert entries(shop, case_id)[1:] == [
        ("li", "noted", LI.reason),
        ("li", "assigned", LI.reason),
    ]
    with pytest.raises(Refused, match="not the name of a person"):
        assign(shop.runtime, case_id, "", LI)
    with pytest.raises(Refused, match="there is no case 99"):
        note(shop.runtime, 99, LI)


def test_a_closed_case_is_still_noted_on_and_nothing_else(shop: Shop) -> None:
    case_id = case_of(shop, sent(shop, Verdict.SUCCEEDED))
    assert close(shop.runtime, case_id, LI).closed_at is not None
    note(shop.runtime, case_id, WANG)
    assert [what for _, what, _ in entries(shop, case_id)] == ["opened", "closed", "noted"]
    for step in (close, ask, send):
        with pytest.raises(Refused, match="was closed at"):
            step(shop.runtime, case_id, LI)
    with pytest.raises(Refused, match="was closed at"):
        assign(shop.runtime, case_id, "wang", LI)


def test_a_case_of_what_is_not_final_stays_open(shop: Shop) -> None:
    refund_id = sent(shop, Verdict.UNKNOWN)
    case_id = case_of(shop, refund_id)
    with pytest.raises(Refused, match="its refund is unknown: ask, or settle it"):
        close(shop.runtime, case_id, LI)
    propose(shop.runtime, case_id, State.SUCCEEDED, LI)
    hear(shop, refund_id, Verdict.SUCCEEDED)
    with pytest.raises(Refused, match="approve or withdraw it first"):
        close(shop.runtime, case_id, LI)


def test_a_case_of_contested_money_is_settled_and_not_closed(shop: Shop) -> None:
    case_id = contradicted(shop)
    other = case_of(shop, 1)
    for one in (case_id, other):
        with pytest.raises(Refused, match="settled by two persons"):
            close(shop.runtime, one, LI)
    by_two(shop, case_id, State.FAILED)
    assert shop.rows("SELECT 1 FROM cases WHERE closed_at IS NULL") == []


def test_what_is_asked_for_now_is_due_at_once(shop: Shop) -> None:
    case_id = case_of(shop, sent(shop, Verdict.PENDING))
    shop.execute("UPDATE refunds SET due_at = :later", later=shop.clock.now + HOUR)
    assert accounts_due(shop.runtime) == []
    ask(shop.runtime, case_id, LI)
    assert accounts_due(shop.runtime) == ["shop"]
    assert entries(shop, case_id)[-1] == ("li", "asked", LI.reason)


@pytest.mark.parametrize(
    ("settings", "verdicts", "why"),
    [
        ({"query": False}, [Verdict.UNKNOWN], "query of its account is off"),
        ({}, [], "it is queued"),
    ],
)
def test_nobody_is_asked_who_cannot_answer(
    settings: dict[str, Any],
    verdicts: list[Verdict],
    why: str,
    ledger: Ledger,
    make_shop: MakeShop,
) -> None:
    shop = make_shop(ledger, shop=settings)
    case_id = case_of(shop, sent(shop, *verdicts))
    with pytest.raises(Refused, match=why):
        ask(shop.runtime, case_id, LI)


def used_up(shop: Shop) -> tuple[int, int]:
    """A refund whose attempts are used up, and of which the provider knows nothing; its case."""
    refund_id = sent(shop, Verdict.UNKNOWN)
    for _ in range(12):
        hear(shop, refund_id, Verdict.NOT_FOUND)
        shop.wait(6 * MINUTE)
        if shop.state() is State.QUEUED:
            intent = shop.claim(1)
            assert intent is not None
            shop.settle(intent, Verdict.UNKNOWN)
            shop.wait(20 * MINUTE)
    return refund_id, int(shop.value("SELECT id FROM cases WHERE kind = 'not_resendable'"))


def test_what_the_provider_does_not_know_is_sent_once_more_on_a_persons_word(shop: Shop) -> None:
    refund_id, case_id = used_up(shop)
    assert (shop.state(), shop.value("SELECT sent FROM refunds")) == (State.UNKNOWN, 3)
    send(shop.runtime, case_id, LI)
    assert [what for _, what, _ in entries(shop, case_id)] == ["opened", "sent", "closed"]
    assert shop.value("SELECT kind FROM events ORDER BY seq DESC LIMIT 1") == "sent_again"
    intent = shop.claim(1)
    assert intent is not None
    other = case_of(shop, refund_id)
    with pytest.raises(Refused, match="it is being sent"):
        send(shop.runtime, other, LI)
    shop.settle(intent, Verdict.UNKNOWN)
    with pytest.raises(Refused, match="has not said often enough"):
        send(shop.runtime, other, LI)
    for _ in range(4):
        hear(shop, refund_id, Verdict.NOT_FOUND)
        shop.wait(6 * MINUTE)
    send(shop.runtime, other, WANG)
    again = shop.claim(1)
    assert again is not None
    shop.settle(again, Verdict.SUCCEEDED)
    close(shop.runtime, other, WANG)
    assert shop.rows("SELECT 1 FROM cases WHERE closed_at IS NULL") == []
    assert (shop.state(), breaches(shop)) == (State.SUCCEEDED, [])


def test_what_the_provider_has_come_to_know_is_not_sent_again(shop: Shop) -> None:
    refund_id, case_id = used_up(shop)
    hear(shop, refund_id, Verdict.KNOWN)
    with pytest.raises(Refused, match="never sent again"):
        send(shop.runtime, case_id, LI)


def test_what_is_about_to_be_settled_is_not_sent_again(shop: Shop) -> None:
    _, case_id = used_up(shop)
    propose(shop.runtime, case_id, State.FAILED, LI)
    with pytest.raises(Refused, match="withdraw it first"):
        send(shop.runtime, case_id, WANG)


@pytest.mark.parametrize(
    ("verdict", "why"),
    [
        (Verdict.UNKNOWN, "has not said often enough"),
        (Verdict.PENDING, "executed twice, or refused"),
        (Verdict.REJECTED, "refundry resubmit"),
        (Verdict.SUCCEEDED, "it has succeeded"),
    ],
)
def test_what_may_have_been_executed_is_not_sent_again(
    verdict: Verdict, why: str, shop: Shop
) -> None:
    case_id = case_of(shop, sent(shop, verdict))
    with pytest.raises(Refused, match=why):
        send(shop.runtime, case_id, LI)


def test_a_case_of_no_refund_is_closed_by_hand_and_neither_asked_about_nor_settled(
    shop: Shop,
) -> None:
    with shop.runtime.ledger.write() as connection:
        open_case_about(connection, "shop", Case.MISMATCHED, "line 7", {}, shop.clock.now)
    for step in (ask, send):
        with pytest.raises(Refused, match="of no refund of ours: line 7"):
            step(shop.runtime, 1, LI)
    with pytest.raises(Refused, match="of no refund of ours"):
        propose(shop.runtime, 1, State.FAILED, LI)
    close(shop.runtime, 1, LI)


def test_an_order_that_is_held_for_an_hour_becomes_a_case_until_it_is_released(shop: Shop) -> None:
    shop.accept()
    token = hold_order(shop.runtime, "shop", "O1", "li")
    shop.wait(HOUR - MINUTE)
    assert sweep(shop.runtime).aged == 0
    shop.wait(MINUTE)
    assert [sweep(shop.runtime).aged for _ in range(2)] == [1, 0]
    assert shop.value("SELECT subject FROM cases") == "O1"
    with pytest.raises(Refused, match="still held"):
        close(shop.runtime, 1, LI)
    release_order(shop.runtime, "shop", "O1", token)
    close(shop.runtime, 1, LI)
    hold_order(shop.runtime, "shop", "O1", "li")
    shop.wait(HOUR)
    assert sweep(shop.runtime).aged == 1
    release_by_hand(shop.runtime, "shop", "O1", WANG)
    assert [what for _, what, _ in entries(shop, 2)] == ["opened", "released", "closed"]
    assert shop.claim(1) is not None


def test_a_hold_is_one_case_whoever_of_the_merchants_accounts_releases_it(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop={"merchant": "one"}, till={"merchant": "one"})
    shop.accept()
    hold_order(shop.runtime, "till", "O1", "li")
    shop.wait(HOUR)
    assert sweep(shop.runtime).aged == 1
    release_by_hand(shop.runtime, "till", "O1", WANG)
    assert shop.value("SELECT count(*) FROM cases") == 1
    assert shop.rows("SELECT 1 FROM cases WHERE closed_at IS NULL") == []


def test_who_holds_an_order_gets_its_token_again_and_nobody_else(shop: Shop) -> None:
    shop.accept()
    token = hold_order(shop.runtime, "shop", "O1", "li")
    assert hold_order(shop.runtime, "shop", "O1", "li") == token
    for other in ("wang", None):
        with pytest.raises(Refused, match="held by li since"):
            hold_order(shop.runtime, "shop", "O1", other)
    release_by_hand(shop.runtime, "shop", "O1", WANG)
    with pytest.raises(Refused, match="is not held"):
        release_by_hand(shop.runtime, "shop", "O1", WANG)
    assert hold_order(shop.runtime, "shop", "O1", "wang") != token


def test_a_hold_of_nobodys_name_is_not_given_away(shop: Shop) -> None:
    shop.accept()
    hold_order(shop.runtime, "shop", "O1")
    for who in ("li", None):
        with pytest.raises(Refused, match="held since"):
            hold_order(shop.runtime, "shop", "O1", who)


def test_a_refund_behind_a_limit_is_canceled_and_its_case_closed(shop: Shop) -> None:
    case_id = case_of(shop, sent(shop), Case.LIMIT)
    with pytest.raises(Refused, match="its refund is queued"):
        close(shop.runtime, case_id, LI)
    cancel_refund(shop.runtime, "shop", "R1")
    close(shop.runtime, case_id, LI)
    assert breaches(shop) == []
