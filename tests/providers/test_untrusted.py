"""Whatever a provider answers: no answer, or a verdict that the answer's own words bear out."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal, InvalidOperation
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.harness import (
    account,
    baofu_signed,
    examples,
    facts,
    hkrt_signed,
    read_both,
)
from worker.providers.base import Provider, load_provider
from worker.providers.http import Answer
from worker.refund import Outcome, Verdict

REFUND = facts(provider_refund_no=None)
FINAL = {Verdict.SUCCEEDED, Verdict.REJECTED}
RIGHT: dict[str, Any] = {
    "quickpay": {
        "code": "SUCCESS",
        "msg": "OK",
        "data": {
            "transaction_status": "REFUNDED",
            "error": "",
            "total_amount": 100,
            "refund_amount": REFUND.amount,
            "order_no": REFUND.order_no,
            "refund_order_no": REFUND.refund_no,
            "refund_transaction_no": "50301",
            "transaction_message": "“OK”",
        },
    },
    "hkrt": {
        "return_code": 10000,
        "return_msg": "“成功”",
        "refund_status": "1",
        "refund_no": "WX1",
        "out_refund_no": REFUND.refund_no,
        "refund_amount": "-0.50",
        "total_amount": "1.00",
        "attach": {"refund_fee": "50", "refund_detail": [{"amount": 100}]},
    },
    "baofu": {
        "resultCode": "SUCCESS",
        "refundState": "SUCCESS",
        "merId": "100000",
        "outTradeNo": REFUND.refund_no,
        "originOutTradeNo": REFUND.order_no,
        "tradeNo": "BF1",
        "refundAmt": REFUND.amount,
        "totalAmt": REFUND.amount,
        "succAmt": REFUND.amount,
        "errMsg": "“OK”",
    },
    "guanaitong": {"code": 0, "msg": "“OK”", "data": "2018070820000016"},
    "guanaitong, asked": {
        "code": 0,
        "msg": "“OK”",
        "data": {"refundStatus": 1, "refundAmount": "0.50", "refundTime": "2026-01-05 10:30:00"},
    },
}
#: What a right answer shows that is not the same success to submission and question: Baofu's is
#: the acceptance alone to the one, and Guanaitong's have a shape for each.
SHOWN = {
    "baofu": [Verdict.PENDING, Verdict.SUCCEEDED],
    "guanaitong": [Verdict.SUCCEEDED],
    "guanaitong, asked": [Verdict.SUCCEEDED],
}
PROVIDERS = {name: load_provider(account(name.partition(",")[0])) for name in RIGHT}
#: Values that occur in right answers, in right places and wrong ones.
TELLING: list[Any] = [
    *(None, "", 0, 1, 2, 3, "1", "2", "3", True, False, [], {}, 10000, "10000", 10404),
    *("SUCCESS", "NOT_FOUND", "REFUNDED", "REFUNDFAILED", "CREATE", "refunded"),
    *("0.50", "-0.50", "0.5", "0.51", "50", "5e1", 50, 51, -50, 5000, "1E2"),
    *("REFUND0001", "REFUND0002", "ORDER0001", "ORDER0002", "WX1", "WX2"),
    *("1000210777", 1000210404, 1000210003, 1000210004, "退款号已存在"),
    *("FAIL", "REFUND", "REFUND_ERROR", "ABNORMAL", "RISK_REFUSED", "ORDER_NOT_EXIST"),
]
JSON = st.recursive(
    st.sampled_from(TELLING) | st.text(max_size=20) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
TELLING_ENDS = ("_no", "amount", "status", "code", "No", "Amt", "State", "Code")
ADDED = ["code", "error_code", "errCode", "sign"]
names = pytest.mark.parametrize("name", list(RIGHT))


def body_of(name: str, text: str) -> bytes:
    """The answer as the provider would send it: signed, where it signs."""
    sign = {"hkrt": hkrt_signed, "baofu": baofu_signed}.get(name, str.encode)
    return sign(text)


def shown(provider: Provider, body: bytes) -> list[Outcome]:
    """The outcomes of an answer, each fit to be kept and shown."""
    outcomes = [o for o in read_both(provider, REFUND, Answer(status=200, body=body)) if o]
    for outcome in outcomes:
        assert outcome.verdict not in (Verdict.NEVER_SENT, Verdict.BUSY, Verdict.FUNDS)
        texts = (outcome.code, outcome.message, outcome.provider_refund_no or "")
        for text in texts:
            assert len(text) <= 200
            assert not {unicodedata.category(sign) for sign in text} & {"Cc", "Zl", "Zp"}
    return outcomes


def is_fen(value: Any, *, yuan: bool) -> bool:
    """Whether a JSON value is the refund's amount, worked out apart from the code under test."""
    try:
        number = Decimal(value) if isinstance(value, str | int) else Decimal("NaN")
    except InvalidOperation:
        return False
    return abs(number) * 100 == REFUND.amount if yuan else number == REFUND.amount


def bears_out_quickpay(answer: dict[str, Any], verdict: Verdict) -> bool:
    data = answer["data"]
    status = {Verdict.SUCCEEDED: "REFUNDED", Verdict.REJECTED: "REFUNDFAILED"}[verdict]
    numbers = (data["order_no"], data["refund_order_no"])
    return (
        answer["code"] == "SUCCESS"
        and data["transaction_status"] == status
        and numbers == (REFUND.order_no, REFUND.refund_no)
        and is_fen(data["refund_amount"], yuan=False)
    )


def bears_out_hkrt(answer: dict[str, Any], verdict: Verdict) -> bool:
    status = {Verdict.SUCCEEDED: "1", Verdict.REJECTED: "2"}[verdict]
    return (
        str(answer["return_code"]) == "10000"
        and str(answer["refund_status"]) == status
        and answer["out_refund_no"] == REFUND.refund_no
        and is_fen(answer["refund_amount"], yuan=True)
    )


def bears_out_baofu(answer: dict[str, Any], verdict: Verdict) -> bool:
    if answer.get("outTradeNo") not in (REFUND.refund_no, None, ""):
        return False
    if answer["resultCode"] == "FAIL":
        amounts = (answer["refundAmt"], answer["totalAmt"])
        right = all(is_fen(amount, yuan=False) for amount in amounts)
        return verdict is Verdict.REJECTED and answer["errCode"] == "RISK_REFUSED" and right
    if answer["resultCode"] != "SUCCESS":
        return False
    if verdict is Verdict.REJECTED:
        return bool(answer["refundState"] == "REFUND_ERROR")
    return answer["refundState"] == "SUCCESS" and is_fen(answer["succAmt"], yuan=False)


def bears_out_guanaitong(answer: dict[str, Any], verdict: Verdict) -> bool:
    """The answer to a submission names nothing, so its code and its number have to do."""
    code, data = str(answer["code"]), answer.get("data")
    if verdict is Verdict.SUCCEEDED and isinstance(data, str):
        return code == "0" and bool(data.strip())
    status = {Verdict.SUCCEEDED: "1", Verdict.REJECTED: "2"}[verdict]
    right = str(answer["data"]["refundStatus"]) == status
    return code == "0" and right and is_fen(answer["data"]["refundAmount"], yuan=True)


BEARS_OUT: dict[str, Callable[[dict[str, Any], Verdict], bool]] = {
    "quickpay": bears_out_quickpay,
    "hkrt": bears_out_hkrt,
    "baofu": bears_out_baofu,
    "guanaitong": bears_out_guanaitong,
    "guanaitong, asked": bears_out_guanaitong,
}


@st.composite
def spoilt(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A right answer with up to three fields changed, added or left out, mostly telling ones."""
    answer: dict[str, Any] = json.loads(json.dumps(RIGHT[name]))
    for _ in range(draw(st.integers(1, 3))):
        inner = answer.get("data")
        places = [answer, *([inner] * 3 if isinstance(inner, dict) else [])]
        place = draw(st.sampled_from(places))
        telling = [key for key in place if key.endswith(TELLING_ENDS)]
        key = draw(st.sampled_from([*place, *telling * 2, *ADDED]))
        if draw(st.integers(0, 4)):
            place[key] = deepcopy(draw(st.sampled_from(TELLING) | JSON))  # it may be spoilt next
        else:
            place.pop(key, None)
    return answer


@names
def test_a_right_answer_is_a_success(name: str) -> None:
    outcomes = shown(PROVIDERS[name], body_of(name, json.dumps(RIGHT[name])))
    expected = SHOWN.get(name, [Verdict.SUCCEEDED, Verdict.SUCCEEDED])
    assert [outcome.verdict for outcome in outcomes] == expected


@names
def test_a_spoilt_answer_is_final_only_where_status_number_and_amount_bear_it_out(
    name: str,
) -> None:
    @examples(300)
    @given(spoilt(name), st.booleans())
    def holds(answer: dict[str, Any], escaped: bool) -> None:
        body = body_of(name, json.dumps(answer, ensure_ascii=escaped))
        for outcome in shown(PROVIDERS[name], body):
            assert outcome.verdict not in FINAL or BEARS_OUT[name](answer, outcome.verdict)

    holds()


@names
def test_bytes_of_any_kind_are_never_final(name: str) -> None:
    @examples(150)
    @given(st.binary() | st.text().map(str.encode) | JSON.map(lambda v: json.dumps(v).encode()))
    def holds(body: bytes) -> None:
        assert not {outcome.verdict for outcome in shown(PROVIDERS[name], body)} & FINAL

    holds()


@names
def test_a_right_answer_with_bytes_changed_is_final_only_if_it_still_says_so(name: str) -> None:
    right = body_of(name, json.dumps(RIGHT[name]))

    @examples(150)
    @given(st.integers(0, len(right) - 1), st.binary(max_size=3), st.integers(0, 3))
    def holds(at: int, put_in: bytes, left_out: int) -> None:
        body = right[:at] + put_in + right[at + left_out :]
        for outcome in shown(PROVIDERS[name], body):
            if outcome.verdict in FINAL:
                answer = json.loads(body)
                answer = json.loads(answer.get("dataContent", body))
                assert BEARS_OUT[name](answer, outcome.verdict)

    holds()


@names
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"SUCCESS"', id="a text"),
        pytest.param(b"1", id="a number"),
        pytest.param(b"[" * 100_000, id="deep lists without an end"),
        pytest.param(b'{"a":' * 100_000, id="deep objects without an end"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="deep objects"),
        pytest.param(b'{"a":"\xff\xfe"}', id="not UTF-8"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', id="half a pair in UTF-8"),
        pytest.param(b"\xef\xbb\xbf{}", id="a byte order mark"),
        pytest.param('{"code":"SUCCESS"}'.encode("utf-16"), id="UTF-16"),
        pytest.param('{"msg":"成功"}'.encode("gb18030"), id="GB 18030"),
        pytest.param(b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":Infinity}', id="Infinity"),
        pytest.param(b'{"a":-Infinity}', id="minus Infinity"),
        pytest.param(b'{"a":1,"a":1}', id="a name twice"),
        pytest.param(b'{"a":[{"b":1,"b":2}]}', id="a name twice within"),
        pytest.param(b"{'code':'SUCCESS'}", id="single quotes"),
        pytest.param("{“code”:“SUCCESS”}".encode(), id="curly quotes"),
        pytest.param(b'{"a":1}{"a":1}', id="two objects"),
        pytest.param(b'{"a":1,}', id="a comma too many"),
        pytest.param(b'{"a":01}', id="a number with a leading zero"),
        pytest.param(b'{"a":"\x00"}', id="a bare control character"),
        pytest.param(b"<html><body>OK</body></html>", id="HTML"),
    ],
)
def test_what_is_no_json_object_is_no_answer(name: str, body: bytes) -> None:
    assert read_both(PROVIDERS[name], REFUND, Answer(status=200, body=body)) == [None, None]
