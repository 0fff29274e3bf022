"""Yuan and fen, and JSON whose numbers keep their text."""

from __future__ import annotations

import ast
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import worker.providers
from tests.providers.harness import examples
from worker.errors import NoAnswer
from worker.providers.formats import dump_object, fen_of, fen_of_yuan, read_object, text_of, yuan

#: The largest amount of the providers' pages: ten digits of fen.
MOST_FEN = 9_999_999_999
ANY_FEN = st.integers(0, MOST_FEN)
NOT_PLAIN = [
    *("", " ", "-", "+", ".", "-.5", ".5", "1.", "1..0", "1.0.0", "--1", "-+1", "+1", "+1.00"),
    *("1e2", "1E2", "1.0e0", "1e-2", "1E+2", "NaN", "nan", "Infinity", "-inf", "0x10", "1f", "一"),
    *(" 1", "1 ", "1\n", "\t1", "1,000", "1,00", "1_000", "1'000", "¥1", "1元", "1.00 CNY", "½"),
]
thorough = examples(200)


class TestYuan:
    @thorough
    @given(ANY_FEN)
    def test_fen_survive_the_way_to_yuan_and_back(self, fen: int) -> None:
        assert fen_of_yuan(yuan(fen)) == fen

    def test_all_small_amounts_survive_the_way_to_yuan_and_back(self) -> None:
        assert all(fen_of_yuan(yuan(fen)) == fen for fen in range(100_000))

    @thorough
    @given(ANY_FEN)
    def test_yuan_are_written_with_two_places_and_no_exponent(self, fen: int) -> None:
        whole, places = yuan(fen).split(".")
        assert (int(whole), int(places), len(places)) == (fen // 100, fen % 100, 2)
        assert whole == str(fen // 100)

    @pytest.mark.parametrize(
        ("text", "fen"),
        [
            *(("10", 1000), ("10.0", 1000), ("100", 10_000), ("10.00", 1000), ("0.5", 50)),
            *(("0.29", 29), ("1.10", 110), ("4.35", 435), ("0.57", 57), ("1.005", None)),
            *(("0", 0), ("0.00", 0), ("0.01", 1), ("99999999.99", MOST_FEN), ("10.000", 1000)),
            *(("0.001", None), ("0.009", None), ("10.001", None), ("0.4999", None)),
        ],
    )
    def test_plain_decimals_that_are_exact_in_fen_are_read(
        self, text: str, fen: int | None
    ) -> None:
        assert fen_of_yuan(text) == fen

    @thorough
    @given(ANY_FEN, st.integers(0, 4))
    def test_zeros_at_the_end_change_nothing(self, fen: int, zeros: int) -> None:
        text = yuan(fen)
        assert fen_of_yuan(text + "0" * zeros) == fen
        if fen % 10 == 0:
            assert fen_of_yuan(text[:-1]) == fen
        if fen % 100 == 0:
            assert fen_of_yuan(text[:-3]) == fen

    @thorough
    @given(ANY_FEN, st.from_regex(r"[0-9]{1,4}", fullmatch=True))
    def test_more_than_two_places_are_read_only_if_exact(self, fen: int, more: str) -> None:
        exact = set(more) == {"0"}
        assert fen_of_yuan(yuan(fen) + more) == (fen if exact else None)

    @thorough
    @given(st.from_regex(r"-?[0-9]{1,14}(\.[0-9]{1,8})?", fullmatch=True), st.booleans())
    def test_whatever_is_read_is_what_a_decimal_says(self, text: str, sign_ignored: bool) -> None:
        fen = fen_of_yuan(text, sign_ignored=sign_ignored)
        if fen is not None:
            assert fen == abs(Decimal(text)) * 100
            assert type(fen) is int

    @pytest.mark.parametrize("text", NOT_PLAIN)
    def test_what_is_no_plain_decimal_is_no_amount(self, text: str) -> None:
        assert fen_of_yuan(text) is None
        assert fen_of_yuan(text, sign_ignored=True) is None

    @thorough
    @given(ANY_FEN, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 20))
    def test_an_exponent_is_no_amount(self, fen: int, e: str, sign: str, power: int) -> None:
        assert fen_of_yuan(f"{yuan(fen)}{e}{sign}{power}") is None

    @thorough
    @given(st.integers(1, MOST_FEN))
    def test_a_sign_is_ignored_only_where_the_page_writes_one(self, fen: int) -> None:
        assert fen_of_yuan(f"-{yuan(fen)}") is None
        assert fen_of_yuan(f"-{yuan(fen)}", sign_ignored=True) == fen
        assert fen_of_yuan(yuan(fen), sign_ignored=True) == fen


class TestFen:
    @thorough
    @given(ANY_FEN)
    def test_plain_digits_are_fen(self, fen: int) -> None:
        assert fen_of(str(fen)) == fen

    @pytest.mark.parametrize("text", [*NOT_PLAIN, "-1", "1.0", "1.00", "0.5", "9" * 5000])
    def test_anything_else_is_not(self, text: str) -> None:
        assert fen_of(text) is None


def numbers_of_modules() -> list[Any]:
    folder = Path(str(worker.providers.__file__)).parent
    money = [path for path in sorted(folder.glob("*.py")) if path.stem not in ("http", "sockets")]
    assert len(money) > 4
    return [pytest.param(path, id=path.stem) for path in money]


@pytest.mark.parametrize("path", numbers_of_modules())
def test_no_float_and_no_division_stands_where_money_is_read_or_written(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        assert not (isinstance(node, ast.Name) and node.id in ("float", "round"))
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))


class TestJson:
    @thorough
    @given(
        st.from_regex(
            r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?", fullmatch=True
        )
    )
    def test_a_number_keeps_its_text(self, number: str) -> None:
        fields = read_object(f'{{"a": {number}, "b": [{number}]}}'.encode())
        assert (text_of(fields, "a"), fields["b"]) == (number, [number])

    @pytest.mark.parametrize("value", [None, True, False, [], ["1"], {}, {"a": "1"}])
    def test_what_is_neither_text_nor_number_reads_as_empty(self, value: Any) -> None:
        assert text_of(read_object(json.dumps({"a": value}).encode()), "a") == ""
        assert text_of({}, "a") == ""

    @thorough
    @given(st.dictionaries(st.text(), st.text() | st.none() | st.booleans()))
    def test_what_is_written_is_utf_8_without_spaces_and_reads_the_same(
        self, fields: dict[str, Any]
    ) -> None:
        body = dump_object(fields)
        assert read_object(body) == fields
        assert re.sub(rb'"(\\.|[^"\\])*"', b"", body).count(b" ") == 0

    def test_what_json_has_no_word_for_is_not_written(self) -> None:
        with pytest.raises(ValueError, match="JSON"):
            dump_object({"a": float("nan")})

    @thorough
    @given(st.binary() | st.text().map(str.encode))
    def test_bytes_are_one_object_or_no_answer(self, body: bytes) -> None:
        try:
            fields = read_object(body)
        except NoAnswer:
            return
        assert json.loads(body, parse_int=str, parse_float=str) == fields
