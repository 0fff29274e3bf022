"""The sorted MD5 rule: the documents' own checks, and what holds for every answer."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simulator.providers.hkrt import signature as written_apart
from tests.providers.harness import KEY, examples
from worker.providers.formats import read_object
from worker.providers.signatures import joined, md5_matches, md5_sign

#: The checks of providers.md, "hkrt": fields, what is joined, and the signature.
CHECKS = [
    (
        {"return_code": 0, "version": "1.0.0"},
        "return_code=0&version=1.0.0",
        "AC58F7A8575958A2D0E212461701B371",
    ),
    ({"a": 1, "b": {"c": 2}, "d": 3}, "a=1&b=c=2&d=3", "263413D0DFDAC0006B6E16EC1478303D"),
    (
        {
            "a": 1,
            "b": [{"c1": 2, "d1": 1}, {"c2": 4, "d2": 3}, {"c3": 6, "d3": 5}, {"c4": 8, "d4": 7}],
        },
        "a=1&b=c1=2&d1=1&c2=4&d2=3&c3=6&d3=5&c4=8&d4=7",
        "71DF90555549730B2050ADE5349F48EA",
    ),
]
NAMES = st.text("abcXYZ_019", min_size=1, max_size=4).filter(lambda name: name != "sign")
LEAVES = st.text(min_size=1, max_size=8) | st.integers()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=5)
#: A JSON number in every spelling.
NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,10})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
)
thorough = examples(100)


def reversed_keys(value: Any) -> Any:
    """The same value with the keys of every object the other way round."""
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of every text and number."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, item in inner for leaf in leaves(item, (*path, key))]
    return [path]


def changed(fields: dict[str, Any], path: tuple[Any, ...], new: Any) -> tuple[Any, dict[str, Any]]:
    """What stood at a path, and the fields with something else there."""
    copy = place = json.loads(json.dumps(fields))
    for key in path[:-1]:
        place = place[key]
    old, place[path[-1]] = place[path[-1]], new
    return old, copy


class TestRule:
    @pytest.mark.parametrize(("fields", "text", "sign"), CHECKS)
    def test_the_documents_checks_hold(self, fields: Any, text: str, sign: str) -> None:
        assert joined(fields) == text
        assert md5_sign(fields, KEY) == sign
        assert md5_matches({**fields, "sign": sign}, KEY)

    @pytest.mark.parametrize(("fields", "text", "sign"), CHECKS)
    def test_the_documents_checks_hold_for_an_answer_as_it_came(
        self, fields: Any, text: str, sign: str
    ) -> None:
        body = json.dumps({"sign": sign, **reversed_keys(fields)}).encode()
        assert md5_matches(read_object(body), KEY)

    @thorough
    @given(FIELDS)
    def test_it_agrees_with_one_written_apart_from_it(self, fields: dict[str, Any]) -> None:
        assert md5_sign(fields, KEY) == written_apart(fields, KEY)

    @thorough
    @given(FIELDS)
    def test_the_order_of_keys_does_not_matter(self, fields: dict[str, Any]) -> None:
        other = reversed_keys(fields)
        assert list(other) == list(reversed(fields))
        assert md5_sign(other, KEY) == md5_sign(fields, KEY)

    @thorough
    @given(FIELDS, st.sampled_from([None, ""]), st.text("npq", min_size=5, max_size=5))
    def test_what_is_null_or_empty_and_the_sign_itself_take_no_part(
        self, fields: dict[str, Any], nothing: Any, name: str
    ) -> None:
        more = {**fields, name: nothing, "sign": "whatever"}
        assert md5_sign(more, KEY) == md5_sign(fields, KEY)

    @thorough
    @given(FIELDS, LEAVES, st.data())
    def test_any_changed_value_changes_the_signature(
        self, fields: dict[str, Any], new: Any, data: st.DataObject
    ) -> None:
        path = data.draw(st.sampled_from(leaves(fields)))
        old, other = changed(fields, path, new)
        assume(str(old) != str(new))
        assert md5_sign(other, KEY) != md5_sign(fields, KEY)
        assert not md5_matches({**other, "sign": md5_sign(fields, KEY)}, KEY)

    @thorough
    @given(FIELDS, st.text(max_size=20))
    def test_another_key_gives_another_signature(self, fields: dict[str, Any], key: str) -> None:
        assume(key != KEY)
        assert not md5_matches({**fields, "sign": md5_sign(fields, key)}, KEY)

    def test_case_decides_the_order_as_in_ascii(self) -> None:
        assert joined({"b": 1, "B": 2, "_": 3, "a": 4, "1": 5}) == "1=5&B=2&_=3&a=4&b=1"

    def test_the_scalars_of_an_array_are_joined(self) -> None:
        assert joined({"a": ["x", 2], "b": "“引”"}) == "a=x&2&b=“引”"


class TestVerification:
    @thorough
    @given(NUMBERS)
    def test_a_number_counts_as_it_was_written(self, number: str) -> None:
        text = f"amount={number}{KEY}"
        sign = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()
        body = f'{{"amount": {number}, "sign": "{sign}"}}'.encode()
        assert md5_matches(read_object(body), KEY)

    @thorough
    @given(FIELDS, st.booleans())
    def test_what_was_signed_is_verified_however_its_json_was_spelt(
        self, fields: dict[str, Any], escaped: bool
    ) -> None:
        answer = {"sign": md5_sign(fields, KEY), **reversed_keys(fields)}
        body = json.dumps(answer, ensure_ascii=escaped, indent=escaped or None).encode()
        assert md5_matches(read_object(body), KEY)

    @pytest.mark.parametrize("given_sign", [None, "", 0, True, [], {}, ["x"]])
    def test_what_is_no_text_is_no_signature(self, given_sign: Any) -> None:
        assert not md5_matches({"a": "1", "sign": given_sign}, KEY)
        assert not md5_matches({"a": "1"}, KEY)

    @pytest.mark.parametrize("spelling", [str.lower, "{} ".format, lambda sign: sign[:-1]])
    def test_a_signature_is_matched_to_the_letter(self, spelling: Any) -> None:
        sign = md5_sign({"a": "1"}, KEY)
        assert md5_matches({"a": "1", "sign": sign}, KEY)
        assert not md5_matches({"a": "1", "sign": spelling(sign)}, KEY)

    def test_an_inner_sign_may_take_part_or_not_but_nothing_else_may_be_left_out(self) -> None:
        inner = {"x": "1", "sign": "00FF"}
        for drop in (False, True):
            sign = md5_sign({"a": inner}, KEY, drop_nested_sign=drop)
            assert md5_matches({"a": inner, "sign": sign}, KEY)
            assert not md5_matches({"a": {**inner, "x": "2"}, "sign": sign}, KEY)
            assert not md5_matches({"a": inner, "b": "1", "sign": sign}, KEY)

    def test_only_a_comparison_in_constant_time_decides(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compared: list[tuple[Any, Any]] = []

        def refuse(one: Any, other: Any) -> bool:
            compared.append((one, other))
            return False

        fields = {"a": "1"}
        sign = md5_sign(fields, KEY)
        monkeypatch.setattr(hmac, "compare_digest", refuse)
        assert not md5_matches({**fields, "sign": sign}, KEY)
        assert compared
        assert all({bytes(one), bytes(other)} == {sign.encode()} for one, other in compared)
