"""The counter-examples of the protocol's model, one by one, against the real steps."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.book import Fate, Nature
from tests.integration.ground import PAID
from tests.integration.promises import check, run_dry
from tests.integration.puppets import Point
from tests.integration.world import World, Worlds
from worker.refund import Verdict

EXECUTES, REFUSES, REPLAYS = (
    Nature(repeated="executed"),
    Nature(repeated="refused"),
    Nature(repeated="replayed"),
)
TAKES_DECLINED = Nature(takes_declined=True)
#: "Not found" is trusted when it was said twice over a second.
TRUSTS: dict[str, Any] = {"not_found_needed": 2, "not_found_over_s": 1}
TELLS: dict[str, Any] = {"query": False, "notify_url": "http://127.0.0.1:9/callbacks/shop"}


@pytest.fixture
def worlds(sqlite_template: Path, tmp_path: Path) -> Worlds:
    return Worlds(sqlite_template, tmp_path)


def send_without_an_answer(world: World) -> None:
    """The provider executes, and nothing of it comes back."""
    world.go(0, "A", Point.SENT)
    world.end(0, "is cut off after all", Fate.EXECUTED)
    check(world)


def lie_until_it_is_queued(world: World) -> None:
    for _ in range(5):
        if world.numbers("queued"):
            break
        world.wait_until_due()
        world.wait(330)
        world.poll(Verdict.NOT_FOUND)
    assert world.numbers("queued") == ["A1"]


@pytest.mark.parametrize("nature", [EXECUTES, REFUSES, REPLAYS], ids=lambda one: one.repeated)
def test_what_got_no_answer_is_asked_about_and_not_sent_again(
    nature: Nature, worlds: Worlds
) -> None:
    with worlds.open(nature) as world:
        world.request("A1", PAID)
        send_without_an_answer(world)
        run_dry(world)
        assert world.numbers("succeeded") == ["A1"]


def test_what_is_past_its_lease_is_unknown_and_not_run_again(worlds: Worlds) -> None:
    with worlds.open(EXECUTES) as world:
        world.request("A1", PAID)
        world.go(0, "A", Point.SENT)
        world.expire_locks()
        world.wait(50)
        for order in [*world.sweep(), "A"]:
            world.go(1, order, Point.SENT)
        check(world)
        assert world.numbers("unknown") == ["A1"]
        run_dry(world)


def test_what_a_dead_worker_left_is_found(worlds: Worlds) -> None:
    with worlds.open(REFUSES) as world:
        world.request("A1", PAID)
        world.go(0, "A", Point.SENT)
        world.end(0, "dies after all", Fate.EXECUTED)
        run_dry(world)
        assert world.numbers("succeeded") == ["A1"]


def test_an_order_whose_message_is_lost_is_woken(worlds: Worlds) -> None:
    with worlds.open(REFUSES) as world:
        world.request("A1", PAID)
        run_dry(world)
        assert world.numbers("succeeded") == ["A1"]


def test_without_a_lock_a_refund_still_waits_for_the_one_that_holds_its_order(
    worlds: Worlds,
) -> None:
    with worlds.open(REFUSES) as world:
        world.request("A1", 60)
        world.request("A2", 40)
        world.go(0, "A", Point.SENT)
        world.expire_locks()
        world.go(1, "A", Point.SENT)
        check(world)
        assert world.numbers("queued") == ["A2"]
        run_dry(world)


def test_a_false_not_found_fails_nothing_and_sends_the_same_number(worlds: Worlds) -> None:
    with worlds.open(REFUSES, **TRUSTS) as world:
        world.request("A1", PAID)
        send_without_an_answer(world)
        lie_until_it_is_queued(world)
        check(world)
        world.go(1, "A", Point.ENDED)
        run_dry(world)
        assert world.numbers("succeeded") == ["A1"]


def test_what_may_have_been_sent_is_not_canceled_when_it_is_queued_again(worlds: Worlds) -> None:
    with worlds.open(REFUSES, **TRUSTS) as world:
        world.request("A1", PAID)
        send_without_an_answer(world)
        lie_until_it_is_queued(world)
        world.cancel("A1")
        check(world)
        run_dry(world)
        assert world.numbers("succeeded") == ["A1"]


def test_a_decline_frees_nothing_while_an_earlier_attempt_is_open(worlds: Worlds) -> None:
    with worlds.open(Nature(amount_first=True), **TRUSTS) as world:
        world.request("A1", PAID)
        send_without_an_answer(world)
        lie_until_it_is_queued(world)
        world.go(1, "A", Point.ENDED)
        check(world)
        run_dry(world)
        assert world.numbers("succeeded") == ["A1"]


def test_not_found_before_the_grace_sends_nothing_again(worlds: Worlds) -> None:
    with worlds.open(REFUSES, **TRUSTS) as world:
        world.request("A1", PAID)
        world.go(0, "A", Point.SENT)
        world.end(0, "is cut off", Fate.EXECUTED)
        for _ in range(3):
            world.wait_until_due()
            world.poll()
        world.go(1, "A", Point.SENT)
        check(world)
        assert len(world.copies) == 1
        run_dry(world)


def test_not_found_that_was_asked_for_before_the_grace_counts_no_more_after_it(
    worlds: Worlds,
) -> None:
    with worlds.open(REFUSES, **TRUSTS) as world:
        world.request("A1", PAID)
        world.go(0, "A", Point.SENT)
        world.end(0, "is cut off", Fate.EXECUTED)
        world.wait_until_due()
        world.claim_questions()
        world.ask(world.questions.pop(), None)
        reply = world.replies.pop()
        for _ in range(2):
            world.wait(330, Fate.EXECUTED)
            world.apply(*reply)
        assert world.numbers("unknown") == ["A1"]
        run_dry(world)
        assert world.numbers("succeeded") == ["A1"]


def test_an_answer_of_an_older_attempt_only_closes_that_attempt(worlds: Worlds) -> None:
    with worlds.open(REFUSES, **TRUSTS) as world:
        world.request("A1", PAID)
        world.go(0, "A", Point.CLAIMED)
        world.expire_locks()
        world.wait(50)
        world.sweep()
        lie_until_it_is_queued(world)
        world.go(1, "A", Point.SENT)
        world.go(0, "", Point.SETTLED)
        world.expire_locks()
        world.go(2, "A", Point.SENT)
        check(world)
        assert world.numbers("submitting") == ["A1"]
        run_dry(world)
        assert world.numbers("succeeded") == ["A1"]


def test_a_number_that_exists_is_no_failure(worlds: Worlds) -> None:
    with worlds.open(REFUSES) as world:
        world.request("A1", PAID)
        world.go(0, "A", Point.SENT)
        (first,) = world.copies
        world.repeat(first)
        world.arrive(world.copies[-1], Fate.EXECUTED)
        world.arrive(first, Fate.EXECUTED)
        world.go(0, "", Point.ENDED)
        check(world)
        world.wait_until_due()
        world.poll()
        assert world.numbers("succeeded") == ["A1"]
        run_dry(world)


def test_a_resubmission_reserves_the_amount_again(worlds: Worlds) -> None:
    with worlds.open(TAKES_DECLINED) as world:
        world.request("A1", PAID)
        world.go(0, "A", Point.ENDED, Fate.DECLINED)
        world.resubmit("A1")
        check(world)
        world.request("A2", PAID)
        run_dry(world)
        assert world.numbers("succeeded") == ["A1"]


def test_the_old_decline_frees_nothing_while_the_new_attempt_is_on_its_way(
    worlds: Worlds,
) -> None:
    with worlds.open(TAKES_DECLINED) as world:
        world.request("A1", PAID)
        world.go(0, "A", Point.ENDED, Fate.DECLINED)
        world.resubmit("A1")
        world.go(0, "A", Point.SENT)
        world.end(0, "is cut off", Fate.EXECUTED)
        world.wait_until_due()
        world.poll()
        world.arrive(world.copies[0], Fate.EXECUTED)
        check(world)
        run_dry(world)
        assert world.numbers("succeeded") == ["A1"]


def test_an_old_decline_that_is_told_after_a_resubmission_fails_nothing(worlds: Worlds) -> None:
    with worlds.open(TAKES_DECLINED, **TELLS) as world:
        world.request("A1", PAID)
        world.go(0, "A", Point.ENDED, Fate.DECLINED)
        world.resubmit("A1")
        send_without_an_answer(world)
        world.wait(400)
        world.tell("A1", Verdict.REJECTED, stale=False)
        check(world)
        run_dry(world)
        assert world.numbers("succeeded") == ["A1"]


def test_an_intent_that_is_too_old_is_not_sent(worlds: Worlds) -> None:
    with worlds.open(REFUSES) as world:
        world.request("A1", PAID)
        world.go(0, "A", Point.CLAIMED)
        world.wait(6)
        world.go(0, "", Point.SETTLED)
        assert world.numbers("queued") == ["A1"]
        run_dry(world)


def test_what_was_paused_after_the_claim_is_not_sent(worlds: Worlds) -> None:
    with worlds.open(REFUSES) as world:
        world.request("A1", PAID)
        world.go(0, "A", Point.CLAIMED)
        world.pause()
        world.go(0, "", Point.SETTLED)
        assert world.numbers("queued") == ["A1"]
        run_dry(world)
