"""Bills: every way they are written, and every way they are wrong, with the line and the advice."""

import tracemalloc
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from config.statements import StatementLayout
from worker.statements.money import fen_of
from worker.statements.reading import (
    MAX_LINE,
    StatementLine,
    StatementReader,
    UnreadableStatement,
)

COLUMNS = {"refund_no": "退款单号", "amount": "退款金额", "at": "时间", "state": "状态"}
USUAL: dict[str, Any] = {"columns": COLUMNS, "succeeded": ["成功"], "failed": ["失败"]}
HEAD = "退款单号,退款金额,时间,状态\n"


def layout(**changed: Any) -> StatementLayout:
    return StatementLayout.model_validate(USUAL | changed)


def read(text: str | bytes, **changed: Any) -> list[StatementLine]:
    own = layout(**changed)
    raw = text.encode(own.encoding) if isinstance(text, str) else text
    return list(StatementReader(own).read(raw.splitlines(keepends=True)))


def refused(text: str | bytes, **changed: Any) -> str:
    with pytest.raises(UnreadableStatement) as caught:
        read(text, **changed)
    return str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
def test_a_bill_is_read_in_either_encoding(encoding: str) -> None:
    (line,) = read(f"{HEAD}R1,1.20,2026-01-31 23:59:59,成功\n", encoding=encoding)
    assert line == StatementLine(
        number=2,
        refund_no="R1",
        provider_refund_no="",
        order_no="",
        amount=120,
        day=date(2026, 1, 31),
        succeeded=True,
    )


def test_a_mark_at_the_beginning_is_skipped() -> None:
    raw = b"\xef\xbb\xbf" + f"{HEAD}R1,1,2026-01-31,成功\n".encode()
    assert [line.refund_no for line in read(raw)] == ["R1"]


def test_preamble_totals_remarks_empty_lines_and_ignored_states_are_left_out() -> None:
    text = (
        f"账单 2026\n商户,1\n\n{HEAD}R1,1,2026-01-31,成功\n#remark\nR2,1,2026-01-31,处理中\n"
        "合计,2,,\n总交易单数,总额\n2,3\n"
    )
    reader = StatementReader(layout(ignored=["处理中"], totals_lines=1, skip_lines=1))
    lines = [line.encode() for line in text.splitlines(keepends=True)][:-2]
    assert [line.refund_no for line in reader.read(lines)] == ["R1"]
    assert reader.skipped == 3


def test_totals_may_take_two_lines() -> None:
    text = f"{HEAD}R1,1,2026-01-31,成功\n总交易单数,总额,,\n`2,`3,,\n"
    assert len(read(text, totals_lines=2)) == 1


def test_cells_are_trimmed_of_blanks_and_of_the_mark_that_keeps_a_number_a_text() -> None:
    (line,) = read(f"{HEAD}`R1\t, `-1.2 ,`20260131,成功 \r\n")
    assert (line.refund_no, line.amount, line.day) == ("R1", 120, date(2026, 1, 31))


def test_columns_may_be_named_by_number_and_cells_parted_by_a_tab() -> None:
    numbered = {"refund_no": 2, "amount": 1}
    (line,) = read("10\tR1\tx\n", columns=numbered, succeeded=[], failed=[], delimiter="tab")
    assert (line.refund_no, line.amount, line.day) == ("R1", 1000, None)


def test_of_a_bill_with_payments_the_kind_or_the_sign_says_what_is_a_refund() -> None:
    kinds = COLUMNS | {"kind": "类型"}
    text = "退款单号,退款金额,时间,状态,类型\n,9,x,y,支付\nR1,1,2026-01-31,成功,退款\n"
    assert [line.refund_no for line in read(text, columns=kinds, kinds=["退款"])] == ["R1"]
    signs = f"{HEAD}P1,5,2026-01-31,成功\nR1,-1,2026-01-31,成功\nP2,0.00,2026-01-31,成功\n"
    assert [line.refund_no for line in read(signs, refunds="negative")] == ["R1"]


@pytest.mark.parametrize(
    ("text", "unit", "fen"),
    [
        ("1", "yuan", 100),
        ("0.01", "yuan", 1),
        ("-1,234.50", "yuan", -123450),
        ("¥1.200", "yuan", 120),
        ("-￥3", "yuan", -300),
        ("￥-3", "yuan", -300),
        ("+7", "fen", 7),
        ("12.00", "fen", 12),
    ],
)
def test_amounts_become_fen_without_loss(text: str, unit: str, fen: int) -> None:
    assert fen_of(text, unit) == fen


@pytest.mark.parametrize(
    "text", ["", "1.005", "1e3", "NaN", "１", "--1", "1,23", "1.", ".5", "-¥-1", "9" * 15]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no amount|part of a fen|more than any"):
        fen_of(text, "yuan")


def test_yuan_in_a_bill_of_fen_is_refused() -> None:
    with pytest.raises(ValueError, match="is unit right"):
        fen_of("1.20", "fen")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEAD}R1,x,2026-01-31,成功\n", "line 2 has no amount: 'x' is no amount"),
        (f"{HEAD}R1,1,31.1.26,成功\n", "line 2 has the time '31.1.26'; add its form to time_f"),
        (f"{HEAD}R1,1,2026-01-31,?\n", "line 2 has the state '?'; list it in succeeded, failed"),
        (f"{HEAD}R1,1\n", "line 2 has 2 cells, not 4; if it has totals, list its beginning"),
        (f"{HEAD},1,2026-01-31,成功\n", "line 2 has neither a refund's number nor an order's"),
        (f"{HEAD}{'R' * 129},1,2026-01-31,成功\n", "line 2 has a refund_no of more than 128"),
        (f'{HEAD}R1,"1,2026-01-31,成功\n', "line 2 is no CSV"),
        (f"{HEAD}R1\0,1,2026-01-31,成功\n", "line 2 has a zero byte"),
        (HEAD.encode("gbk"), "line 1 is not in utf-8; correct encoding"),
        ("a,b\n1,2\n", "line 2 is reached and no line has the columns '退款金额', '退款单号'"),
        ("a,b\n" * 200, "line 100 is reached and no line has the columns"),
        ("", "line 0 is reached and no line has the columns"),
        ("退款单号,退款单号,退款金额,时间,状态\n", "line 1 has two columns '退款单号'"),
        (f"{HEAD}{'x' * MAX_LINE}\n", f"line 2 has more than {MAX_LINE} bytes"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line_and_what_to_do(
    text: str | bytes, said: str
) -> None:
    assert refused(text).startswith(said)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"columns": {"amount": "a"}}, "one of refund_no, provider_refund_no, order_no"),
        ({"columns": {"amount": "a", "order_no": 2}}, "by their heading, or all by their number"),
        ({"columns": {"amount": "a", "order_no": "a"}}, "two fields have the same column"),
        ({"kinds": ["退款"]}, "columns.kind and kinds go together"),
        ({"succeeded": []}, "columns.state and succeeded go together"),
        ({"failed": ["成功"]}, "a state is listed twice"),
        ({"encoding": "latin-1"}, "utf-8"),
        ({"delimiter": ";;"}, "pattern"),
        ({"unit": "jiao"}, "yuan"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_layout_that_cannot_be_meant_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        layout(**changed)


def test_a_long_bill_needs_no_more_memory_than_a_short_one() -> None:
    assert peak(20_000) < peak(200) + 200_000


def peak(lines: int) -> int:
    def bill() -> Iterator[bytes]:
        yield HEAD.encode()
        for number in range(lines):
            yield f"R{number},1.00,2026-01-31,成功\n".encode()

    tracemalloc.start()
    assert count(StatementReader(layout()).read(bill())) == lines
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def count(lines: Iterable[StatementLine]) -> int:
    return sum(1 for _ in lines)
