"""What an answer to a question may change, and when it counts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from refundry import State
from tests.unit.builders import NOW, RULES, after, answered, asked, first_sent
from worker.decisions import begin, reap, resubmit
from worker.refund import Case, Standing, Verdict

GRACE = [False, True]


def resubmitted() -> Standing:
    """Failed, asked for again, sent again; the second attempt's end is unknown."""
    failed = after(answered(first_sent(), Verdict.REJECTED))
    return reap(begin(resubmit(failed).standing).standing).standing


def test_not_found_does_not_count_before_the_grace() -> None:
    assert asked(reap(first_sent()).standing, Verdict.NOT_FOUND, after_grace=False) is None


@pytest.mark.parametrize("needed", [1, 3, 5])
@pytest.mark.parametrize("spread_s", [0, 1, 100, 1000])
def test_not_found_is_trusted_when_said_often_enough_over_long_enough(
    needed: int, spread_s: int
) -> None:
    rules = replace(RULES, not_found_needed=needed)
    standing, said, now = reap(first_sent()).standing, 0, NOW
    while standing.state is State.UNKNOWN and said < 20:
        standing = after(asked(standing, Verdict.NOT_FOUND, rules=rules, now=now))
        said, now = said + 1, now + timedelta(seconds=spread_s)
    trusted = said >= needed and now - timedelta(seconds=spread_s) - NOW >= rules.not_found_over
    assert (standing.state is State.QUEUED) is trusted


@pytest.mark.parametrize("heard", [Verdict.PENDING, Verdict.KNOWN])
def test_not_found_after_the_provider_knew_the_number_opens_a_case(heard: Verdict) -> None:
    known = after(asked(reap(first_sent()).standing, heard))
    for grace in GRACE:
        change = asked(known, Verdict.NOT_FOUND, after_grace=grace)
        assert change is not None
        assert (change.standing.state, change.case) == (known.state, Case.VANISHED)


def test_a_number_known_from_the_answer_vanishes_into_a_case() -> None:
    for verdict in (Verdict.PENDING, Verdict.KNOWN, Verdict.EXISTS):
        change = asked(after(answered(first_sent(), verdict)), Verdict.NOT_FOUND)
        assert change is not None
        assert change.case is Case.VANISHED


@pytest.mark.parametrize("sent", [1, 2, 3])
@pytest.mark.parametrize("deduplicates", [False, True])
def test_sending_again_is_for_providers_that_deduplicate_and_attempts_that_are_left(
    deduplicates: bool, sent: int
) -> None:
    rules = replace(RULES, deduplicates=deduplicates, not_found_needed=1)
    rules = replace(rules, not_found_over=timedelta())
    standing = Standing(state=State.UNKNOWN, attempt=sent, sent=sent, open_sent=sent)
    change = asked(standing, Verdict.NOT_FOUND, rules=rules)
    assert change is not None
    if deduplicates and sent < RULES.attempts_max:
        assert (change.standing.state, change.case) == (State.QUEUED, None)
    else:
        assert (change.standing.state, change.case) == (State.UNKNOWN, Case.NOT_RESENDABLE)


def test_a_queried_decline_after_a_resubmission_counts_only_after_the_grace() -> None:
    assert asked(resubmitted(), Verdict.REJECTED, after_grace=False) is None
    assert after(asked(resubmitted(), Verdict.REJECTED, after_grace=True)).state is State.FAILED


def test_a_queried_decline_of_the_only_attempt_counts_at_once() -> None:
    change = asked(reap(first_sent()).standing, Verdict.REJECTED, after_grace=False)
    assert after(change).state is State.FAILED
    assert change is not None
    assert change.closes_all


def test_a_decline_before_the_grace_may_be_that_of_an_attempt_that_was_turned_away() -> None:
    turned_away = after(answered(first_sent(), Verdict.BUSY))
    again = reap(begin(turned_away).standing).standing
    assert asked(again, Verdict.REJECTED, after_grace=False) is None
    assert after(asked(again, Verdict.REJECTED)).state is State.FAILED


def test_not_found_that_the_providers_answer_has_overtaken_has_nothing_vanish() -> None:
    pending = after(answered(first_sent(), Verdict.PENDING))
    assert asked(pending, Verdict.NOT_FOUND, known=False) is None
    change = asked(pending, Verdict.NOT_FOUND, known=True)
    assert change is not None
    assert change.case is Case.VANISHED
