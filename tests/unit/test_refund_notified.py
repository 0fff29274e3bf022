"""What a provider's own message changes, and what it never does: every state, every verdict."""

from dataclasses import replace
from itertools import product

import pytest

from refundry import State
from tests.unit.builders import RULES, after, answered, broken_promises, first_sent
from worker.decisions import begin, decide_mismatch, decide_notification, reap, resubmit
from worker.refund import FINAL, OPEN, Attempt, Case, Change, Notice, Standing, Verdict

OPEN_SENT = {State.SUBMITTING: 1, State.UNKNOWN: 1, State.PENDING: 1, State.SUCCEEDED: 1}
STANDINGS = [
    Standing(state=state, attempt=1, sent=1, open_sent=OPEN_SENT.get(state, 0))
    for state in sorted(State)
]
DENIALS = [verdict for verdict in Verdict if verdict is not Verdict.SUCCEEDED]
WAYS = list(product([True, False], repeat=3))


def told(
    standing: Standing,
    verdict: Verdict,
    *,
    asks: bool = True,
    stale: bool = False,
    after_grace: bool = True,
) -> Change | None:
    """What a notification changes."""
    notice = Notice(verdict=verdict, stale=stale, after_grace=after_grace)
    return decide_notification(standing, notice, replace(RULES, asks=asks))


@pytest.mark.parametrize("standing", STANDINGS, ids=lambda standing: standing.state)
@pytest.mark.parametrize("verdict", Verdict)
def test_the_ledger_takes_whatever_is_decided(standing: Standing, verdict: Verdict) -> None:
    for asks, stale, after_grace in WAYS:
        change = told(standing, verdict, asks=asks, stale=stale, after_grace=after_grace)
        if change is not None:
            assert broken_promises(standing, change) == []
            changed = change.standing != standing
            assert changed or change.asks or change.case is not None
            assert asks or not change.asks


@pytest.mark.parametrize("standing", STANDINGS, ids=lambda standing: standing.state)
def test_an_execution_counts_in_every_state_and_never_overwrites_a_final_one(
    standing: Standing,
) -> None:
    for asks, after_grace in product([True, False], repeat=2):
        change = told(standing, Verdict.SUCCEEDED, asks=asks, after_grace=after_grace)
        if standing.state is State.SUCCEEDED:
            assert change is None
            continue
        assert change is not None
        if standing.state in OPEN:
            assert (change.event, change.standing.state) == ("notified", State.SUCCEEDED)
        else:
            assert (change.case, change.standing.state) == (Case.CONTRADICTED, standing.state)
            assert change.freezes
            assert change.standing.contested


@pytest.mark.parametrize("standing", STANDINGS, ids=lambda standing: standing.state)
@pytest.mark.parametrize("verdict", DENIALS)
def test_anything_else_is_a_reason_to_ask_and_no_more(standing: Standing, verdict: Verdict) -> None:
    for stale, after_grace in product([True, False], repeat=2):
        change = told(standing, verdict, stale=stale, after_grace=after_grace)
        if standing.state in (State.UNKNOWN, State.PENDING):
            assert change is not None
        if change is not None:
            assert change == Change(event="notified", standing=standing, asks=True)


def test_a_final_refund_is_asked_about_where_the_message_disagrees_with_it() -> None:
    disagreeing = {
        (standing.state, verdict)
        for standing, verdict in product(STANDINGS, DENIALS)
        if standing.state in FINAL and told(standing, verdict)
    }
    assert disagreeing == {
        (State.FAILED, Verdict.PENDING),
        (State.FAILED, Verdict.KNOWN),
        (State.SUCCEEDED, Verdict.REJECTED),
    }


@pytest.mark.parametrize("standing", STANDINGS, ids=lambda standing: standing.state)
def test_a_stale_execution_is_asked_about_and_not_believed(standing: Standing) -> None:
    change = told(standing, Verdict.SUCCEEDED, stale=True)
    if standing.state in (State.UNKNOWN, State.PENDING, State.FAILED):
        assert change == Change(event="notified", standing=standing, asks=True)
    elif standing.state is State.CANCELED:  # of which nobody can be asked
        assert change is not None
        assert change.case is Case.CONTRADICTED
    else:
        assert change is None


@pytest.mark.parametrize("standing", STANDINGS, ids=lambda standing: standing.state)
@pytest.mark.parametrize("verdict", Verdict)
def test_where_nobody_can_be_asked_a_stale_message_counts_like_any_other(
    standing: Standing, verdict: Verdict
) -> None:
    fresh, stale = (told(standing, verdict, asks=False, stale=stale) for stale in (False, True))
    assert fresh == stale


@pytest.mark.parametrize("standing", STANDINGS, ids=lambda standing: standing.state)
def test_where_nobody_can_be_asked_a_decline_counts_after_the_grace(standing: Standing) -> None:
    change = told(standing, Verdict.REJECTED, asks=False)
    if standing.state in (State.UNKNOWN, State.PENDING):
        assert change is not None
        assert (change.event, change.standing.state) == ("notified", State.FAILED)
        assert change.closes_all
        assert told(standing, Verdict.REJECTED, asks=False, after_grace=False) is None
    elif standing.state is State.SUCCEEDED:
        assert change is not None
        assert (change.case, change.freezes) == (Case.CONTRADICTED, True)
        assert change.standing == standing
    else:
        assert change is None


@pytest.mark.parametrize("verdict", [v for v in DENIALS if v is not Verdict.REJECTED])
def test_where_nobody_can_be_asked_nothing_else_changes_anything(verdict: Verdict) -> None:
    for standing in STANDINGS:
        assert told(standing, verdict, asks=False) is None


def test_a_decline_that_may_be_an_earlier_attempts_fails_nothing() -> None:
    declined = after(answered(first_sent(), Verdict.REJECTED))
    again = begin(resubmit(declined).standing).standing
    pending = after(answered(again, Verdict.PENDING))
    for standing in (pending, reap(again).standing):
        assert told(standing, Verdict.REJECTED, asks=False) is None


@pytest.mark.parametrize("verdict", Verdict)
def test_an_answer_that_comes_after_the_message_of_success_is_harmless(verdict: Verdict) -> None:
    succeeded = after(told(first_sent(), Verdict.SUCCEEDED))
    change = answered(succeeded, verdict, was=Attempt.STARTED)
    assert change is None or change.standing.state is State.SUCCEEDED
    closes = {Verdict.NEVER_SENT, Verdict.BUSY, Verdict.MISCONFIGURED, Verdict.TOKEN}
    contradicts = verdict in closes | {Verdict.REJECTED, Verdict.FUNDS}
    assert (change is not None and change.case is Case.CONTRADICTED) == contradicts


@pytest.mark.parametrize("standing", STANDINGS, ids=lambda standing: standing.state)
def test_a_message_about_something_else_opens_a_case_and_changes_no_state(
    standing: Standing,
) -> None:
    for asks in (True, False):
        change = decide_mismatch(standing, replace(RULES, asks=asks))
        assert (change.standing, change.case) == (standing, Case.MISMATCHED)
        assert change.asks <= asks


def test_a_contested_refund_is_not_contested_again() -> None:
    contested = after(told(STANDINGS[1], Verdict.SUCCEEDED))
    assert contested.contested
    for verdict, asks in product(Verdict, [True, False]):
        assert told(contested, verdict, asks=asks) is None
