"""What is kept of calls and answers: legible, bounded, and without what is nobody's to read."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.providers.harness import FILES, account, examples
from worker.evidence import MAX_TEXT, MAX_UNREAD, kept_answer, kept_call, masks
from worker.providers.base import Secretive, load_provider
from worker.providers.http import Answer, Call

PLANTED = "HUNTER2-HUNTER2"
SECRET = 's3cr3t/with=signs&"quotes"'
BY = masks({"recipientName", "nickName"}, {SECRET})
#: Names under which something secret, or personal, may come.
NAMES = (
    *("sign", "signStr", "access_token", "accessToken", "appsecret", "password", "sign_key"),
    *("recipientName", "recipient_phone", "nick_name", "nickName", "openid", "bank_card_no"),
    *("mobile", "buyer_email", "shopAddress"),
)
#: What is decided by, and may not be masked.
TELLING = (
    *("return_code", "error_code", "error_msg", "refund_status", "out_refund_no", "refund_amount"),
    *("code", "msg", "transaction_status", "order_no", "refund_order_no", "returnCode", "errMsg"),
    *("resultCode", "refundState", "outTradeNo", "succAmt", "totalAmt", "merId", "refundStatus"),
    *("outerRefundNo", "refundAmount", "tradeNo", "data", "dataContent", "bizContent", "total"),
)


def answered(body: bytes, status: int = 200) -> str:
    return kept_answer(Answer(status=status, body=body), BY)


def test_a_call_and_its_answer_are_kept_as_they_were_but_for_the_signature() -> None:
    body = b'{"out_refund_no":"R1","refund_amount":1.50,"sign":"ABC"}'
    call = Call(url="https://pay.example/v1/refund", body=body, headers={"X-Key": PLANTED})
    said = '{"out_refund_no":"R1","refund_amount":1.50,"sign":"***"}'
    assert kept_call(call, BY) == f"POST https://pay.example/v1/refund\n{said}"
    assert answered(body, 502) == f"HTTP 502\n{said}"


@pytest.mark.parametrize("name", NAMES)
def test_no_field_of_a_secret_or_personal_name_keeps_its_value(name: str) -> None:
    whole: dict[str, Any] = {"a": [{name: PLANTED}], name: {"inner": PLANTED, "n": [PLANTED]}}
    nested = json.dumps({"dataContent": json.dumps(whole)})
    for text in (
        *(json.dumps(whole), nested, urlencode({name: PLANTED, "content": nested})),
        *(nested[:-9], json.dumps({"msg": f"wrong {name}: {PLANTED}"}), f"<p>{name} = {PLANTED}"),
        *(f'{{"{name}": "{PLANTED}', f"{name}={PLANTED}&{name}={PLANTED}", f"a={name}={PLANTED}"),
    ):
        assert PLANTED not in answered(text.encode()), text
    query = Call(url=f"https://u:{PLANTED}@pay.example/x?{name}={PLANTED}&v=1", body=b"")
    assert PLANTED not in kept_call(query, BY)
    assert "v=1" in kept_call(query, BY)


@pytest.mark.parametrize("name", TELLING)
def test_what_is_decided_by_is_legible(name: str) -> None:
    assert f'"{name}":"VALUE-1"' in answered(json.dumps({name: "VALUE-1"}).encode())


@pytest.mark.parametrize("text", ["13800138000", "收货人13800138000，", "tel 13800138000."])
def test_a_mobile_number_is_masked_and_an_order_number_is_not(text: str) -> None:
    assert "13800138000" not in answered(json.dumps({"error_msg": text}).encode())
    assert "13800138000" not in answered(text.encode())
    for number in ("202613800138000", "R13800138000", "13800138000-1"):
        assert number in answered(json.dumps({"order_no": number}).encode())


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["json", "form", "text", "cut"]))
@example("", "", "cut")
@examples(200)
def test_a_known_secret_is_found_wherever_it_stands(left: str, right: str, form: str) -> None:
    value = f"{left}{SECRET}{right}"
    bodies = {
        "json": json.dumps({"echo": value, value: [value]}).encode(),
        "form": urlencode({"echo": value}).encode(errors="replace"),
        "text": value.encode(errors="replace"),
        "cut": (value + "x" * MAX_TEXT).encode(errors="replace"),
    }
    kept = answered(bodies[form])
    assert SECRET not in kept
    assert json.dumps(SECRET)[1:-1] not in kept


@given(st.binary(max_size=600) | st.text(max_size=300).map(str.encode))
@example(b"\xff\x00{}")
@example(b'{"a":"\\ud800"}')
@example(b'{"a":' * 400)
@example(b'{"a":1,"a":2}')
@examples(300)
def test_whatever_comes_is_kept_as_bounded_lines_that_a_database_takes(body: bytes) -> None:
    kept = answered(body)
    head, _, rest = kept.partition("\n")
    assert head == "HTTP 200"
    assert not any(ord(sign) < 32 or "\ud800" <= sign <= "\udfff" for sign in rest)
    assert len(kept) <= MAX_TEXT + 40


def test_what_is_long_is_cut_and_says_how_long_it_was() -> None:
    items = json.dumps({"items": [{"name": "x" * 90}] * 500}).encode()
    assert answered(items).endswith(f"… ({len(items)} bytes)")
    assert len(answered(items)) < MAX_TEXT + 40
    page = b"<html>" + b"y" * 100_000
    assert len(answered(page)) < MAX_UNREAD + 60


SECRETS: dict[str, dict[str, Any]] = {
    "quickpay": {"signing": "headers", "headers": {"X-Api": PLANTED}, "sign_key": PLANTED},
    "hkrt": {"access_key": PLANTED},
    "guanaitong": {"appsecret": PLANTED},
    "baofu": {},
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_provider_says_what_is_secret_of_its_account(name: str) -> None:
    provider = load_provider(account(name, **SECRETS[name]))
    assert isinstance(provider, Secretive)
    secrets = {one.get_secret_value() for one in provider.secrets}
    assert secrets == ({PLANTED} if SECRETS[name] else set())
    assert PLANTED not in f"{vars(provider)} {masks((), {PLANTED})}"
