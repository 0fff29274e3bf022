"""The protocol's rules about one refund, each by itself; the whole life is in test_refund_life."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from refundry import State
from tests.unit.builders import (
    NOW,
    RULES,
    after,
    answered,
    asked,
    first_sent,
)
from worker.decisions import begin, cancel, reap
from worker.refund import FINAL, OPEN, TRANSITIONS, Attempt, Case, Standing, Verdict

#: The table of protocol.md, "States".
PROTOCOL = """
- -> queued
queued -> submitting canceled succeeded failed
submitting -> pending unknown succeeded failed queued
unknown -> pending succeeded failed queued
pending -> succeeded failed unknown
failed -> queued succeeded
succeeded -> reversed
canceled ->
reversed ->
"""
#: Verdicts that say for certain that the attempt executed nothing.
CLOSING = [
    Verdict.NEVER_SENT,
    Verdict.BUSY,
    Verdict.MISCONFIGURED,
    Verdict.TOKEN,
    Verdict.FUNDS,
    Verdict.REJECTED,
]
#: What counts in whichever answer it comes.
ALWAYS_HEARD = {Verdict.SUCCEEDED, Verdict.MISCONFIGURED}
FINAL_STANDINGS = [
    Standing(state=state, attempt=1, sent=1, open_sent=int(state is State.SUCCEEDED))
    for state in sorted(FINAL)
]
GRACE = [False, True]


def requeued() -> Standing:
    """Sent once with an unknown end, then not found by the provider: queued to be sent again."""
    standing = reap(first_sent()).standing
    for minutes in (0, 5, 10):
        change = asked(standing, Verdict.NOT_FOUND, now=NOW + timedelta(minutes=minutes))
        standing = after(change)
    assert standing.state is State.QUEUED
    return standing


def sent_twice() -> Standing:
    """The second attempt is under way, and nobody knows what became of the first."""
    return begin(requeued()).standing


def test_the_transitions_are_the_protocols() -> None:
    table = {}
    for line in PROTOCOL.strip().splitlines():
        before, _, afters = line.partition("->")
        key = None if before.strip() == "-" else State(before.strip())
        table[key] = frozenset(map(State, afters.split()))
    assert table == TRANSITIONS
    assert set(State) == FINAL | OPEN
    assert not FINAL & OPEN


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.SUCCEEDED])
@pytest.mark.parametrize("standing", FINAL_STANDINGS, ids=lambda standing: standing.state)
def test_no_evidence_changes_a_final_state(standing: Standing, verdict: Verdict) -> None:
    for was, grace in product(Attempt, GRACE):
        for change in (
            answered(standing, verdict, was=was),
            asked(standing, verdict, after_grace=grace),
        ):
            assert change is None or change.standing.state is standing.state


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELED, State.REVERSED])
def test_an_execution_after_finality_opens_a_case_and_stops_the_order(state: State) -> None:
    standing = Standing(state=state, attempt=1, sent=1)
    for change in (answered(standing, Verdict.SUCCEEDED), asked(standing, Verdict.SUCCEEDED)):
        assert change is not None
        assert (change.standing.state, change.case) == (state, Case.CONTRADICTED)
        assert change.freezes
        assert change.standing.contested


def test_a_decline_after_success_opens_a_case_and_stops_the_order() -> None:
    change = asked(after(answered(first_sent(), Verdict.SUCCEEDED)), Verdict.REJECTED)
    assert change is not None
    assert (change.standing.state, change.case) == (State.SUCCEEDED, Case.CONTRADICTED)
    assert change.freezes


@pytest.mark.parametrize("verdict", [Verdict.PENDING, Verdict.KNOWN])
def test_a_failure_that_the_provider_still_works_on_opens_a_case(verdict: Verdict) -> None:
    change = asked(after(answered(first_sent(), Verdict.REJECTED)), verdict)
    assert change is not None
    assert (change.standing.state, change.case) == (State.FAILED, Case.CONTRADICTED)


@pytest.mark.parametrize(
    ("became", "said"),
    [(Verdict.REJECTED, Verdict.PENDING), (Verdict.SUCCEEDED, Verdict.NOT_FOUND)],
)
def test_what_was_true_when_it_was_asked_is_no_contradiction(
    became: Verdict, said: Verdict
) -> None:
    final = after(answered(reap(first_sent()).standing, became, was=Attempt.UNKNOWN))
    assert asked(final, said, state=State.UNKNOWN) is None
    assert asked(final, said) is not None


def test_a_contradiction_is_noted_once() -> None:
    contested = after(asked(Standing(state=State.FAILED, attempt=1, sent=1), Verdict.SUCCEEDED))
    assert asked(contested, Verdict.SUCCEEDED) is None
    assert answered(contested, Verdict.SUCCEEDED) is None


def test_a_queued_refund_that_may_have_been_sent_holds_its_order() -> None:
    assert requeued().holds
    assert not Standing(state=State.QUEUED).holds


def test_a_queued_refund_that_may_have_been_sent_cannot_be_canceled() -> None:
    assert cancel(requeued()) is None


def test_a_queued_refund_that_was_never_sent_can_be_canceled() -> None:
    for standing in (
        Standing(state=State.QUEUED),
        after(answered(first_sent(), Verdict.NEVER_SENT)),
        after(answered(first_sent(), Verdict.BUSY)),
        after(answered(first_sent(), Verdict.TOKEN)),
    ):
        assert after(cancel(standing)).state is State.CANCELED


@pytest.mark.parametrize("state", [state for state in State if state is not State.QUEUED])
def test_nothing_but_a_queued_refund_can_be_canceled(state: State) -> None:
    assert cancel(Standing(state=state, attempt=1, sent=1)) is None


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.SUCCEEDED, State.SUCCEEDED),
        (Verdict.REJECTED, State.FAILED),
        (Verdict.PENDING, State.PENDING),
        (Verdict.NEVER_SENT, State.QUEUED),
        (Verdict.BUSY, State.QUEUED),
        (Verdict.MISCONFIGURED, State.QUEUED),
        (Verdict.TOKEN, State.QUEUED),
        (Verdict.FUNDS, State.FAILED),
        (Verdict.UNKNOWN, State.UNKNOWN),
        (Verdict.KNOWN, State.UNKNOWN),
        (Verdict.EXISTS, State.UNKNOWN),
    ],
)
def test_an_answer_counts_before_and_after_the_reaper(verdict: Verdict, state: State) -> None:
    assert after(answered(first_sent(), verdict)).state is state
    reaped = reap(first_sent()).standing
    assert after(answered(reaped, verdict, was=Attempt.UNKNOWN)).state is state


def test_the_reaper_never_sends_a_refund_back_to_the_queue() -> None:
    for standing in (first_sent(), sent_twice()):
        change = reap(standing)
        assert change.standing == replace(standing, state=State.UNKNOWN)
        assert change.standing.holds
        assert change.attempt is Attempt.UNKNOWN


@pytest.mark.parametrize("verdict", [Verdict.REJECTED, Verdict.FUNDS])
def test_a_rejection_is_not_final_while_an_earlier_attempt_is_open(verdict: Verdict) -> None:
    for funds_same_number in (False, True):
        rules = replace(RULES, funds_same_number=funds_same_number)
        change = answered(sent_twice(), verdict, rules=rules)
        assert after(change).state is State.UNKNOWN
        assert after(change).open_sent == 1


def test_a_short_balance_waits_under_the_same_number_where_the_account_says_so() -> None:
    rules = replace(RULES, funds_same_number=True)
    assert after(answered(first_sent(), Verdict.FUNDS, rules=rules)).state is State.QUEUED


@pytest.mark.parametrize("verdict", sorted(set(Verdict) - ALWAYS_HEARD))
def test_a_reply_about_an_attempt_that_is_not_the_latest_any_more_changes_nothing(
    verdict: Verdict,
) -> None:
    standing = reap(sent_twice()).standing
    for grace in GRACE:
        assert asked(standing, verdict, attempt=1, after_grace=grace) is None


def test_a_wrong_set_up_that_a_reply_shows_pauses_the_account_and_nothing_else() -> None:
    for standing in (reap(sent_twice()).standing, replace(first_sent(), state=State.FAILED)):
        change = asked(standing, Verdict.MISCONFIGURED, attempt=1)
        assert change is not None
        assert change.pauses
        assert change.standing == standing


@pytest.mark.parametrize("was", [Attempt.STARTED, Attempt.UNKNOWN])
@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.SUCCEEDED])
def test_an_answer_to_an_earlier_attempt_closes_that_attempt_at_most(
    verdict: Verdict, was: Attempt
) -> None:
    standing = sent_twice()
    change = answered(standing, verdict, attempt=1, was=was)
    if verdict in CLOSING:
        assert after(change).open_sent == 1
        assert after(change).state is State.SUBMITTING
    else:
        assert change is None or change.standing == replace(standing, known=True)


@pytest.mark.parametrize("state", sorted(OPEN))
def test_an_execution_counts_whatever_attempt_or_question_it_came_from(state: State) -> None:
    sent = 0 if state is State.QUEUED else 2
    standing = Standing(state=state, attempt=sent, sent=sent, open_sent=sent)
    for change in (
        answered(standing, Verdict.SUCCEEDED, attempt=1),
        asked(standing, Verdict.SUCCEEDED, attempt=1, after_grace=False),
    ):
        assert after(change).state is State.SUCCEEDED


def test_a_number_that_exists_at_the_first_attempt_is_somebody_elses() -> None:
    first = answered(first_sent(), Verdict.EXISTS)
    second = answered(sent_twice(), Verdict.EXISTS)
    assert first is not None
    assert second is not None
    assert (first.standing.state, first.case) == (State.UNKNOWN, Case.NUMBER_TAKEN)
    assert (second.standing.state, second.case) == (State.UNKNOWN, None)


def test_an_accepted_refund_lets_its_order_go_only_where_the_account_says_so() -> None:
    for releases in (False, True):
        rules = replace(RULES, releases_on_acceptance=releases)
        assert after(answered(first_sent(), Verdict.PENDING, rules=rules)).holds is not releases


@pytest.mark.parametrize("verdict", Verdict)
def test_only_a_misconfigured_account_is_paused_and_its_refund_goes_again(
    verdict: Verdict,
) -> None:
    change = answered(first_sent(), verdict)
    assert change is not None
    assert change.pauses == (verdict is Verdict.MISCONFIGURED)
    if change.pauses:
        assert change.standing == Standing(state=State.QUEUED, attempt=1)
        assert change.attempt is Attempt.BUSY


@pytest.mark.parametrize("refused_before", [False, True])
def test_a_second_token_that_is_refused_pauses_the_account(refused_before: bool) -> None:
    change = answered(first_sent(), Verdict.TOKEN, refused_before=refused_before)
    assert change is not None
    assert change.pauses is refused_before
    assert change.standing == Standing(state=State.QUEUED, attempt=1)
    assert change.attempt is Attempt.BUSY


@pytest.mark.parametrize("state", sorted(State))
def test_a_token_that_is_refused_to_a_question_changes_nothing(state: State) -> None:
    assert asked(Standing(state=state, attempt=1, sent=1, open_sent=1), Verdict.TOKEN) is None


def test_what_an_old_attempt_found_misconfigured_pauses_nothing() -> None:
    late = answered(sent_twice(), Verdict.MISCONFIGURED, attempt=1, was=Attempt.UNKNOWN)
    assert late is not None
    assert not late.pauses
