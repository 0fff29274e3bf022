"""What a bill's line says beside a refund: a table of every pair of states, and of every kind."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from refundry import State
from worker.refund import Case
from worker.statements.judging import Beside, Ours, Result, choose, judge, of_no_refund
from worker.statements.reading import StatementLine

DAY = date(2026, 1, 31)
BEFORE = DAY - timedelta(days=1)
LINE = StatementLine(
    number=5, refund_no="R1", provider_refund_no="P1", order_no="O1", amount=10, day=DAY,
    succeeded=True,
)  # fmt: skip
OURS = Ours(
    id=1, order_id=1, account="shop", refund_no="R1", provider_refund_no="P1", order_no="O1",
    amount=10, state=State.SUCCEEDED, sent=1, first_day=BEFORE, state_day=DAY,
)  # fmt: skip
DECLINED = replace(LINE, succeeded=False)
ALONE = Beside(paid=False, paid_before=False)
AGREED, WAITING, OVERTAKEN = Result.AGREED, Result.WAITING, Result.OVERTAKEN
#: What a line that says paid, and one that says declined, is beside each state of ours.
TABLE = {
    State.QUEUED: (WAITING, OVERTAKEN),
    State.SUBMITTING: (WAITING, OVERTAKEN),
    State.UNKNOWN: (WAITING, WAITING),
    State.PENDING: (WAITING, WAITING),
    State.SUCCEEDED: (AGREED, WAITING),
    State.FAILED: (WAITING, AGREED),
    State.CANCELED: (WAITING, AGREED),
    State.REVERSED: (AGREED, AGREED),
}


@pytest.mark.parametrize("state", State)
def test_states_are_compared_and_where_they_differ_the_provider_is_asked_first(
    state: State,
) -> None:
    ours = replace(OURS, state=state)
    assert (judge(LINE, ours, ALONE), judge(DECLINED, ours, ALONE)) == TABLE[state]


def test_another_amount_or_order_is_a_difference() -> None:
    assert judge(replace(LINE, amount=11), OURS, ALONE) is Case.AMOUNT_DIFFERS
    assert judge(replace(LINE, order_no="O2"), OURS, ALONE) is Case.MISMATCHED
    assert judge(replace(LINE, order_no=""), OURS, ALONE) is AGREED


def test_a_state_that_differs_is_graver_than_an_amount() -> None:
    failed = replace(OURS, state=State.FAILED)
    assert judge(replace(LINE, amount=11), failed, ALONE) is WAITING


def test_only_the_second_of_two_lines_that_say_paid_is_doubled() -> None:
    assert judge(LINE, OURS, Beside(paid=True, paid_before=False)) is AGREED
    assert judge(LINE, OURS, Beside(paid=True, paid_before=True)) is Case.DOUBLED


def test_a_decline_before_the_payment_says_nothing_of_it() -> None:
    assert judge(DECLINED, OURS, Beside(paid=True, paid_before=False)) is OVERTAKEN
    assert judge(replace(DECLINED, day=BEFORE), OURS, ALONE) is OVERTAKEN
    assert judge(DECLINED, replace(OURS, sent=2), ALONE) is OVERTAKEN
    assert judge(replace(DECLINED, day=None), OURS, ALONE) is WAITING


def test_what_is_not_in_the_ledger_is_strange_if_it_was_paid() -> None:
    assert of_no_refund(LINE, order_known=True) is Case.UNRECORDED
    assert of_no_refund(LINE, order_known=False) is Case.NOT_OURS
    assert of_no_refund(DECLINED, order_known=True) is Result.NO_MONEY


class TestOrderAmountAndDay:
    UNNUMBERED = replace(LINE, refund_no="", provider_refund_no="")

    def test_a_refund_of_the_order_with_the_amount_is_the_lines(self) -> None:
        assert choose(self.UNNUMBERED, [replace(OURS, amount=9), OURS], set()) is OURS

    @pytest.mark.parametrize(
        "other",
        [
            {"amount": 11},
            {"first_day": DAY + timedelta(days=1), "state_day": DAY + timedelta(days=1)},
            {"first_day": BEFORE, "state_day": BEFORE},
        ],
    )
    def test_another_amount_or_day_is_not(self, other: dict[str, object]) -> None:
        assert choose(self.UNNUMBERED, [replace(OURS, **other)], set()) is None  # type: ignore[arg-type]

    def test_one_that_the_provider_numbers_otherwise_is_not(self) -> None:
        assert choose(replace(LINE, provider_refund_no="P2"), [OURS], set()) is None

    def test_each_refund_is_one_lines_alone_and_those_that_agree_go_first(self) -> None:
        failed, second = replace(OURS, id=2, state=State.FAILED), replace(OURS, id=3)
        ours = [failed, OURS, second]
        taken: set[int] = set()
        chosen = []
        while (one := choose(self.UNNUMBERED, ours, taken)) is not None:
            chosen.append(one.id)
            taken.add(one.id)
        assert chosen == [1, 3, 2]
