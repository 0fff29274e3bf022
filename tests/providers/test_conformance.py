"""One suite for every provider module, over sockets, against the simulator."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from simulator import kinds
from tests.providers.conformance import (
    ACCEPTED,
    QUERY_FAULTS,
    SUBJECTS,
    SUBMIT_FAULTS,
    UNDECIDED,
    Connected,
    Subject,
    assert_judged,
    connected,
    knowing,
    refund_of,
    waits_for,
)
from tests.providers.harness import account
from tests.simulator.harness import Sim, await_true
from worker.errors import NotSent
from worker.providers.base import RefundFacts, load_provider
from worker.providers.http import Answer, Wire
from worker.refund import Verdict

SUCCEEDED, REJECTED = frozenset({Verdict.SUCCEEDED}), frozenset({Verdict.REJECTED})
_NUMBERS = count(1)


@pytest.fixture(params=SUBJECTS, ids=lambda subject: subject.name)
def subject(request: pytest.FixtureRequest) -> Subject:
    chosen: Subject = request.param
    return chosen


@pytest.fixture
def refund(subject: Subject) -> RefundFacts:
    return refund_of(f"CONFORM{next(_NUMBERS):06d}", subject.prefix_no)


def planned(sim: Sim, subject: Subject, refund: RefundFacts, **plan: Any) -> None:
    sim.plan(subject.name, refund.refund_no, **plan)


def at_once(subject: Subject, final: frozenset[Verdict]) -> frozenset[Verdict]:
    """What the answer to a submission may show of a refund that is decided."""
    return final if subject.synchronous else ACCEPTED


def test_the_tables_name_every_fault_of_the_simulator() -> None:
    assert {fault.partition(":")[0] for fault in SUBMIT_FAULTS} == kinds.SUBMIT_FAULTS
    assert {fault.partition(":")[0] for fault in QUERY_FAULTS} == kinds.QUERY_FAULTS


class TestFates:
    def test_a_success_is_a_success_with_the_providers_number(
        self, sim: Sim, there: Connected, refund: RefundFacts
    ) -> None:
        outcome = there.submit(refund)
        assert outcome is not None
        assert outcome.verdict in at_once(there.subject, SUCCEEDED)
        reply = there.ask(refund)
        assert reply is not None
        assert reply.verdict is Verdict.SUCCEEDED
        entry = sim.entry(refund.refund_no)
        known = knowing(knowing(refund, outcome), reply)
        assert known.provider_refund_no == entry["provider_refund_no"]
        assert (entry["amount"], entry["order"]) == (refund.amount, refund.order_no)

    def test_a_decline_is_a_rejection_and_moves_no_money(
        self, sim: Sim, there: Connected, refund: RefundFacts
    ) -> None:
        planned(sim, there.subject, refund, fate="decline")
        outcome, reply = there.submit(refund), there.ask(refund)
        assert outcome is not None
        assert outcome.verdict in at_once(there.subject, REJECTED)
        assert reply is not None
        assert reply.verdict is Verdict.REJECTED
        assert reply.message
        assert sim.entry(refund.refund_no)["executions"] == 0

    @pytest.mark.parametrize(
        ("fate", "final"),
        [
            ("pending:2", Verdict.SUCCEEDED),
            ("pending_decline:2", Verdict.REJECTED),
            ("unknown:1", Verdict.SUCCEEDED),
        ],
    )
    def test_a_refund_under_way_decides_nothing_until_it_is_settled(
        self, sim: Sim, there: Connected, refund: RefundFacts, fate: str, final: Verdict
    ) -> None:
        planned(sim, there.subject, refund, fate=fate)
        outcomes = [there.submit(refund), there.ask(refund), there.ask(refund)]
        verdicts = [outcome.verdict for outcome in outcomes if outcome]
        assert len(verdicts) == 3
        assert set(verdicts[:2]) <= ACCEPTED
        assert verdicts[2] is final

    def test_an_unknown_number_is_not_found(self, there: Connected, refund: RefundFacts) -> None:
        reply = there.ask(refund)
        assert reply is not None
        assert reply.verdict is Verdict.NOT_FOUND


class TestLostAnswers:
    @pytest.mark.parametrize("fault", SUBMIT_FAULTS)
    def test_a_spoilt_answer_to_a_submission_decides_nothing_and_the_next_question_tells(
        self, sim: Sim, subject: Subject, refund: RefundFacts, fault: str
    ) -> None:
        planned(sim, subject, refund, submit=[fault])
        followed = sim.log(event="redirected")
        with connected(subject, sim, **waits_for(fault)) as there:
            final = at_once(subject, SUCCEEDED)
            assert_judged(there.submit(refund), subject.judgement(SUBMIT_FAULTS, fault), final)
        executed = kinds.parse_fault(fault, "submit").processed
        with connected(subject, sim) as there:
            if executed:
                sim.await_log(event="EXECUTED", refund=refund.refund_no)
            reply = there.ask(refund)
            assert reply is not None
            assert reply.verdict is (Verdict.SUCCEEDED if executed else Verdict.NOT_FOUND)
            if there.provider.traits.deduplicates:
                assert_judged(there.submit(refund), "final", final)
                assert sim.entry(refund.refund_no)["executions"] == 1
        assert sim.log(event="redirected") == followed

    @pytest.mark.parametrize("fault", QUERY_FAULTS)
    @pytest.mark.parametrize("fate", ["succeed", "decline"])
    def test_a_spoilt_reply_to_a_question_decides_nothing(
        self, sim: Sim, subject: Subject, refund: RefundFacts, fate: str, fault: str
    ) -> None:
        judgement = subject.judgement(QUERY_FAULTS, fault)
        final = SUCCEEDED if fate == "succeed" else REJECTED
        planned(sim, subject, refund, fate=fate, query=[fault])
        with connected(subject, sim, **waits_for(fault)) as there:
            there.submit(refund)
            assert_judged(there.ask(refund), judgement, final)
            assert_judged(there.ask(refund), "final", final)

    @pytest.mark.parametrize(
        "fault",
        ["bad_signature", "wrong_amount", "wrong_number", "unknown_code", "unknown_status"],
    )
    def test_a_spoilt_decline_is_no_rejection(
        self, sim: Sim, there: Connected, refund: RefundFacts, fault: str
    ) -> None:
        planned(sim, there.subject, refund, fate="decline", submit=[fault])
        judgement = there.subject.judgement(SUBMIT_FAULTS, fault)
        assert_judged(there.submit(refund), judgement, REJECTED)

    def test_a_provider_that_is_out_answers_nothing(
        self, sim: Sim, there: Connected, refund: RefundFacts
    ) -> None:
        sim.control("outage", {"provider": there.subject.name, "seconds": 60})
        try:
            assert [there.submit(refund), there.ask(refund)] == [None, None]
        finally:
            sim.control("outage", {"provider": there.subject.name, "seconds": 0})

    def test_a_provider_that_is_not_there_was_sent_nothing(
        self, subject: Subject, refund: RefundFacts
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        settings = account(subject.name, f"http://127.0.0.1:{port}", **dict(subject.options))
        provider, wire = load_provider(settings), Wire(settings)
        for call in (provider.submission(refund), provider.question(refund)):
            with pytest.raises(NotSent):
                wire.post(call)
        wire.close()

    @pytest.mark.parametrize("status", [201, 204, 302, 307, 400, 401, 404, 429, 500, 502, 503])
    def test_a_right_body_under_another_status_is_no_answer(
        self, there: Connected, refund: RefundFacts, status: int
    ) -> None:
        answers = there.answers(refund)
        assert all(there.read(refund, answers))
        others = [replace(answer, status=status) for answer in answers]
        assert there.read(refund, others) == [None, None]

    def test_an_empty_body_is_no_answer(self, there: Connected, refund: RefundFacts) -> None:
        assert there.read(refund, [Answer(status=200, body=b"")] * 2) == [None, None]


class TestNumbers:
    def test_a_number_sent_again_is_executed_once(
        self, sim: Sim, there: Connected, refund: RefundFacts
    ) -> None:
        if there.provider.traits.deduplicates:
            first, again = there.submit(refund), there.submit(refund)
            assert first is not None
            assert again is not None
            assert first.verdict is again.verdict
            assert first.provider_refund_no == again.provider_refund_no is not None
        else:
            there.submit(refund)
            outcome = there.submit(refund)
            assert outcome is None or outcome.verdict in UNDECIDED | {Verdict.EXISTS}
        entry = sim.entry(refund.refund_no)
        assert (entry["executions"], entry["submits"]) == (1, 2)

    @pytest.mark.parametrize("change", [{"amount": 49}, {"order_no": "OTHER"}])
    def test_a_used_number_with_other_content_decides_nothing(
        self, sim: Sim, there: Connected, refund: RefundFacts, change: dict[str, Any]
    ) -> None:
        there.submit(refund)
        if "order_no" in change:
            change = {"order_no": f"{there.subject.prefix_no}OTHER"}
        outcome = there.submit(replace(refund, **change))
        assert outcome is None or outcome.verdict in UNDECIDED | {Verdict.EXISTS}
        assert sim.entry(refund.refund_no)["executions"] == 1

    def test_an_answer_about_another_refund_is_no_answer(
        self, there: Connected, refund: RefundFacts
    ) -> None:
        answers = there.answers(refund)
        others = [
            replace(refund, refund_no=f"{refund.refund_no}0"),
            replace(refund, amount=refund.amount + 1),
            replace(refund, amount=refund.amount * 100),
            replace(refund, amount=refund.amount // 10),
        ]
        for other in others[there.subject.names_nothing :]:
            submitted, asked = there.read(other, answers)
            assert submitted is None or there.subject.names_nothing
            assert asked is None

    def test_a_refund_is_found_by_the_providers_number_too(
        self, there: Connected, refund: RefundFacts
    ) -> None:
        reply = there.ask(knowing(refund, there.submit(refund)))
        assert reply is not None
        assert reply.verdict is Verdict.SUCCEEDED

    @pytest.mark.parametrize("amount", [1, 9, 10, 99, 100, 101, 110, 28_999, 9_999_999])
    def test_every_amount_arrives_as_it_was_meant(
        self, sim: Sim, there: Connected, amount: int
    ) -> None:
        number = f"AMOUNT{next(_NUMBERS):06d}"
        refund = refund_of(number, there.subject.prefix_no, amount=amount, order_amount=99_999_999)
        outcome = there.submit(refund)
        assert outcome is not None
        assert outcome.verdict in at_once(there.subject, SUCCEEDED)
        assert sim.entry(refund.refund_no)["amount"] == amount

    def test_many_at_once_get_the_answers_to_their_own(self, sim: Sim, there: Connected) -> None:
        refunds = [
            refund_of(f"MANY{next(_NUMBERS):06d}", there.subject.prefix_no, amount=1 + n)
            for n in range(64)
        ]
        with ThreadPoolExecutor(32) as pool:
            outcomes = list(pool.map(there.submit, refunds))
        assert {outcome.verdict for outcome in outcomes if outcome} <= at_once(
            there.subject, SUCCEEDED
        )
        numbers = await_true(
            lambda: [sim.entry(r.refund_no)["provider_refund_no"] for r in refunds]
        )
        assert [outcome and outcome.provider_refund_no for outcome in outcomes] == numbers
