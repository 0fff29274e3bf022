"""Settlements by the table of states alone: what people may say of a refund, and what follows."""

from dataclasses import replace
from itertools import product

import pytest

from refundry import State
from tests.unit.builders import RULES
from tests.unit.test_states_drawing import standings
from worker.case_rules import why_not_closed
from worker.decisions import send_again, settle
from worker.refund import FINAL, TRANSITIONS, Case, Standing

ALL = [one for one in standings() if one.state not in FINAL or not one.open_sent]


@pytest.mark.parametrize("to", State)
def test_a_settlement_is_a_transition_of_the_table_or_holds_on_to_an_end(to: State) -> None:
    for standing, lost in product(ALL, (False, True)):
        change = settle(standing, to, lost=lost)
        if isinstance(change, str):
            continue
        after = change.standing
        assert after.state is to
        assert to in FINAL
        assert to in TRANSITIONS[standing.state] or to is standing.state
        assert not after.contested
        assert to is not State.FAILED or (after.open_sent == 0 and change.closes_all)
        assert change.event == "settled"


def test_nothing_that_is_under_way_is_settled() -> None:
    for standing, to in product(ALL, State):
        if standing.state is State.SUBMITTING:
            assert isinstance(settle(standing, to, lost=True), str)


def test_what_was_never_sent_is_canceled_and_not_settled() -> None:
    queued = Standing(state=State.QUEUED)
    for to in State:
        assert isinstance(settle(queued, to, lost=False), str)
    for more in ({"open_sent": 1, "sent": 1}, {"known": True}):
        assert not isinstance(settle(replace(queued, **more), State.FAILED, lost=False), str)


def test_only_an_unknown_refund_that_nobody_knows_is_sent_again() -> None:
    for standing, dedups, trusted in product(standings(), (False, True), (False, True)):
        rules = replace(RULES, deduplicates=dedups)
        change = send_again(standing, rules, not_resendable=trusted, lost=False)
        may = standing.state is State.UNKNOWN and not standing.known and dedups and trusted
        assert isinstance(change, str) is not may
        if not isinstance(change, str):
            assert (change.standing.state, change.standing.holds) == (
                State.QUEUED,
                standing.open_sent > 0,
            )


@pytest.mark.parametrize("kind", Case)
def test_no_case_is_closed_by_hand_while_something_of_it_is_open(kind: Case) -> None:
    for state, contested in product(State, (False, True)):
        standing = Standing(state=state, contested=contested)
        why = why_not_closed(kind, standing, proposed=False, held=False)
        is_open = state not in FINAL or contested or kind is Case.CONTRADICTED
        assert (why is not None) == is_open, (state, contested)
    assert why_not_closed(kind, None, proposed=True, held=False)
