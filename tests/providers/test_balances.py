"""Order figures over sockets, against the simulator: of every provider that can be asked."""

from __future__ import annotations

from itertools import count

import pytest

from tests.providers.conformance import (
    QUERY_FAULTS,
    SUBJECTS,
    Connected,
    Subject,
    connected,
    refund_of,
    waits_for,
)
from tests.providers.harness import account
from tests.simulator.harness import Sim
from worker.errors import NoAnswer, NotSent
from worker.providers.base import Balances, RefundFacts, load_provider
from worker.providers.http import Wire
from worker.refund import Figures

BALANCED = [
    subject
    for subject in SUBJECTS
    if isinstance(load_provider(account(subject.name, **dict(subject.options))), Balances)
]
_NUMBERS = count(1)


@pytest.fixture(params=BALANCED, ids=lambda subject: subject.name)
def subject(request: pytest.FixtureRequest) -> Subject:
    chosen: Subject = request.param
    return chosen


@pytest.fixture
def refund(sim: Sim, subject: Subject) -> RefundFacts:
    """A refund of 50 of an order of 100 fen."""
    one = refund_of(f"BALANCE{next(_NUMBERS):06d}")
    sim.control("orders", [{"provider": subject.name, "order": one.order_no, "paid": 100}])
    return one


def figures(there: Connected, refund: RefundFacts) -> Figures:
    provider = there.provider
    assert isinstance(provider, Balances)
    return provider.read_balance(refund, there.wire.post(provider.balance_question(refund)))


def test_figures_follow_the_orders_refunds(there: Connected, sim: Sim, refund: RefundFacts) -> None:
    assert figures(there, refund) == Figures(refunded=0, left=100)
    sim.plan(there.subject.name, refund.refund_no, fate="pending:1")
    there.submit(refund)
    assert figures(there, refund) == Figures(refunded=0, left=50)
    there.ask(refund)
    assert figures(there, refund) == Figures(refunded=50, left=50)
    assert figures(there, refund) == Figures(refunded=50, left=50)


def test_a_declined_refund_leaves_the_order_as_it_was(
    there: Connected, sim: Sim, refund: RefundFacts
) -> None:
    sim.plan(there.subject.name, refund.refund_no, fate="decline")
    there.submit(refund)
    assert figures(there, refund) == Figures(refunded=0, left=100)


@pytest.mark.parametrize("fault", QUERY_FAULTS)
def test_only_a_whole_and_authentic_answer_has_figures(
    subject: Subject, sim: Sim, refund: RefundFacts, fault: str
) -> None:
    sim.plan(subject.name, refund.order_no, query=[fault])
    with connected(subject, sim, **waits_for(fault)) as there:
        if QUERY_FAULTS[fault] == "final":
            assert figures(there, refund) == Figures(refunded=0, left=100)
        else:
            with pytest.raises(NoAnswer):
                figures(there, refund)


def test_an_order_that_nobody_knows_has_no_figures(there: Connected) -> None:
    with pytest.raises(NoAnswer, match="ORDER_NOT_EXIST"):
        figures(there, refund_of("NOBODY0001"))


def test_a_provider_that_is_not_there_was_not_asked(subject: Subject) -> None:
    settings = account(subject.name, **dict(subject.options))
    there = Connected(subject, load_provider(settings), Wire(settings))
    with pytest.raises(NotSent):
        figures(there, refund_of("NOWHERE001"))
    there.wire.close()
