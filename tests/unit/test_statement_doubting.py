"""Whether many lines differ alike, pure."""

from datetime import date

import pytest

from refundry import State
from worker.refund import Case
from worker.statements.doubting import Doubt, Limits, Sign, doubt, sign_of, sign_of_stranger
from worker.statements.judging import Ours, Result
from worker.statements.reading import StatementLine

DAY = date(2026, 1, 31)
OURS = Ours(
    id=1, order_id=1, account="shop", refund_no="R1", provider_refund_no=None, order_no="O1",
    amount=2000, state=State.SUCCEEDED, sent=1, first_day=DAY, state_day=DAY,
)  # fmt: skip
LIMITS = Limits(lines=10, share=0.2)


def line(amount: int = 2000, refund_no: str = "R1") -> StatementLine:
    return StatementLine(
        number=2, refund_no=refund_no, provider_refund_no="", order_no="O1", amount=amount,
        day=DAY, succeeded=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "sign"),
    [(200_000, Sign.HUNDREDFOLD), (20, Sign.HUNDREDTH), (2001, Sign.OTHER_AMOUNT)],
)
def test_amounts_say_whether_the_unit_is_wrong(amount: int, sign: Sign) -> None:
    assert sign_of(Case.AMOUNT_DIFFERS, line(amount), OURS) is sign


@pytest.mark.parametrize(
    ("result", "sign"),
    [
        (Case.MISMATCHED, Sign.OTHER_ORDER),
        (Case.DOUBLED, Sign.DOUBLED),
        (Result.WAITING, Sign.OTHER_STATE),
    ],
)
def test_what_else_differs_has_a_sign_of_its_own(result: Case | Result, sign: Sign) -> None:
    assert sign_of(result, line(), OURS) is sign


def test_a_line_of_no_refund_has_a_strange_number_or_the_wrong_unit_or_nothing() -> None:
    assert sign_of_stranger(line(refund_no="X"), [OURS]) is Sign.UNKNOWN_NUMBER
    assert sign_of_stranger(line(20, refund_no=""), [OURS]) is Sign.HUNDREDTH
    assert sign_of_stranger(line(21, refund_no=""), [OURS]) is Sign.UNMATCHED
    assert sign_of_stranger(line(refund_no=""), []) is Sign.UNMATCHED


@pytest.mark.parametrize(("count", "lines"), [(10, 10), (20, 100), (0, 0)])
def test_what_differs_up_to_both_limits_is_not_doubted(count: int, lines: int) -> None:
    assert doubt({Sign.DOUBLED: count}, lines, LIMITS) is None


@pytest.mark.parametrize(("count", "lines"), [(11, 11), (21, 100)])
def test_one_more_is(count: int, lines: int) -> None:
    found = doubt({Sign.OTHER_ORDER: 1, Sign.DOUBLED: count}, lines, LIMITS)
    assert found == Doubt(sign=Sign.DOUBLED, count=count, of=lines)


def test_what_differs_in_many_ways_is_not_doubted_for_their_sum() -> None:
    assert doubt({Sign.OTHER_ORDER: 15, Sign.DOUBLED: 15}, 100, LIMITS) is None
    assert doubt({}, 100, LIMITS) is None


@pytest.mark.parametrize("sign", Sign)
def test_every_doubt_says_how_many_lines_and_what_may_be_wrong(sign: Sign) -> None:
    said = str(Doubt(sign=sign, count=21, of=100))
    assert said.startswith("21 of 100 ")
    assert ": " in said


def test_a_wrong_unit_is_named_with_the_right_one() -> None:
    assert str(Doubt(sign=Sign.HUNDREDFOLD, count=9, of=9)) == (
        'set unit = "fen"'.join(["9 of 9 lines have a hundred times our amount: ", ""])
    )
