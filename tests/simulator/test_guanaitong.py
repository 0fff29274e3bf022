"""Guanaitong as its page and providers.md say: token, signature, bounds, each number once."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from simulator.providers.base import RefusedError
from simulator.providers.guanaitong import App, signature
from tests.simulator.harness import APPID, GAT_SECRET, Sim, await_true

#: The application whose tokens live for two seconds, and are sixty an hour.
SCARCE = f"{APPID}9"


def signed(fields: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    stamp = str(int(time.time()))
    fields = {"appid": APPID, "grant_type": "client_credential", "timestamp": stamp} | fields
    fields = {**fields, **changed}
    return {"sign": signature(fields, GAT_SECRET), **fields}


def create(sim: Sim, **changed: Any) -> Any:
    form = signed({}, changed) | {key: changed[key] for key in ("sign",) if key in changed}
    return requests.post(f"{sim.url}/gat/token/create", data=form, timeout=5).json()


def token_of(sim: Sim, appid: str = APPID) -> str:
    answer = create(sim, appid=appid)
    assert answer["code"] == 0
    return str(answer["data"]["access_token"])


def call(sim: Sim, name: str, body: dict[str, Any], **changed: Any) -> Any:
    text = json.dumps(body, ensure_ascii=False)
    token = changed.pop("access_token", None) or token_of(sim, changed.get("appid", APPID))
    query = signed({"access_token": token, "version": "1.0.0", "_body": text}, changed)
    query = query | {key: changed[key] for key in ("sign",) if key in changed}
    del query["_body"]
    answer = requests.post(
        f"{sim.url}/gat/seller/v3/pay/{name}?{urlencode(query)}",
        data=text.encode(),
        headers={"Content-Type": "application/json"},
        timeout=5,
    )
    assert answer.status_code == 200
    return answer.json()


def body(refund: str, **more: Any) -> dict[str, Any]:
    numbers = {"outerTradeNo": f"{APPID}O{refund}", "outerRefundNo": f"{APPID}{refund}"}
    return {**numbers, "refundAmount": "0.30", "reason": "“退”"} | more


def refund_of(sim: Sim, refund: str, **more: Any) -> Any:
    return call(sim, "syncRefund", body(refund, **more))


def ask(sim: Sim, refund: str) -> Any:
    return call(sim, "getRefundResult", {"refundOuterTradeNo": f"{APPID}{refund}"})


def test_the_signature_is_the_sha1_of_what_stands_here() -> None:
    text = b"_body={}&a=1&appsecret=S3cret&b=2"
    right = hashlib.sha1(text).hexdigest()
    assert signature({"b": "2", "sign": "x", "_body": "{}", "a": "1"}, "S3cret") == right


@pytest.mark.parametrize(
    ("fate", "code", "statuses"),
    [
        ("succeed", 0, ["1"]),
        ("decline", 1000210900, ["2"]),
        ("pending:2", 1000210901, ["0", "1"]),
        ("unknown:1", 1000210901, ["9", "1"]),
    ],
)
def test_a_submission_tells_at_once_or_the_query_does(
    sim: Sim, refund: str, fate: str, code: int, statuses: list[str]
) -> None:
    sim.plan("guanaitong", f"{APPID}{refund}", fate=fate)
    answer = refund_of(sim, refund)
    assert (answer["code"], isinstance(answer["data"], str)) == (code, code == 0)
    found = [ask(sim, refund)["data"] for _ in statuses]
    assert [str(data["refundStatus"]) for data in found] == statuses
    assert {data["refundAmount"] for data in found} <= {"0.3", "0.30"}


@pytest.mark.parametrize("change", [{}, {"refundAmount": "0.31"}, {"outerTradeNo": f"{APPID}X"}])
def test_a_number_is_executed_once_and_refused_ever_after(
    sim: Sim, refund: str, change: dict[str, Any]
) -> None:
    refund_of(sim, refund)
    again = refund_of(sim, refund, **change)
    assert (again["code"], again["msg"], again["data"]) == (1000210777, "退款号已存在", None)
    assert sim.entry(f"{APPID}{refund}")["executions"] == 1


def test_both_spellings_are_read(sim: Sim, refund: str) -> None:
    snake = {"outer_trade_no": f"{APPID}1", "outer_refund_no": f"{APPID}{refund}"}
    answer = call(sim, "syncRefund", {**snake, "refund_amount": 10, "reason": "r"})
    assert answer["code"] == 0
    assert sim.entry(f"{APPID}{refund}")["amount"] == 1000


def test_a_number_that_nobody_used_is_not_found(sim: Sim, refund: str) -> None:
    assert ask(sim, refund) == {"code": 1000210404, "msg": "退款单不存在", "data": None}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sign": "0" * 40}, 1000210003),
        ({"appid": "9"}, 1000210003),
        ({"timestamp": "1"}, 1000210001),
        ({"timestamp": "4102444800"}, 1000210001),
        ({"timestamp": "now"}, 1000210001),
        ({"grant_type": "password"}, 1000210002),
    ],
)
def test_a_call_that_is_not_rightly_signed_does_nothing(
    sim: Sim, refund: str, change: dict[str, str], code: int
) -> None:
    token = token_of(sim)
    assert create(sim, **change)["code"] == code
    assert call(sim, "syncRefund", body(refund), access_token=token, **change)["code"] == code
    assert sim.book(refund=f"{APPID}{refund}") == []


def test_the_signature_covers_the_body(sim: Sim, refund: str) -> None:
    answer = call(sim, "syncRefund", body(refund), _body=json.dumps(body(refund, reason="x")))
    assert answer["code"] == 1000210003


@pytest.mark.parametrize("token", ["0" * 32, "anothers"])
def test_a_token_that_was_never_given_to_the_application_does_nothing(
    sim: Sim, refund: str, token: str
) -> None:
    given = token_of(sim, SCARCE) if token == "anothers" else token
    answer = call(sim, "syncRefund", body(refund), access_token=given)
    assert answer["code"] == 1000210004
    assert sim.book(refund=f"{APPID}{refund}") == []


def test_a_token_ends_when_it_says(sim: Sim) -> None:
    answer = create(sim, appid=SCARCE)
    assert answer["data"]["expires_in"] == 2
    given = {"access_token": answer["data"]["access_token"], "appid": SCARCE}
    question = {"refundOuterTradeNo": f"{SCARCE}1"}
    assert call(sim, "getRefundResult", question, **given)["code"] == 1000210404
    await_true(lambda: call(sim, "getRefundResult", question, **given)["code"] == 1000210004)


def test_no_more_tokens_an_hour_are_made_than_the_application_has() -> None:
    app = App(appid=APPID, secret="S", tokens_an_hour=3)
    tokens = {app.make_token() for _ in range(3)}
    assert all(app.knows(token) for token in tokens)
    with pytest.raises(RefusedError, match="超过限制"):
        app.make_token()


def test_a_simulator_that_is_started_anew_knows_the_tokens_of_the_one_before() -> None:
    before, after, another = (App(appid=APPID, secret=secret) for secret in ("S", "S", "T"))
    token = before.make_token()
    assert after.knows(token)
    assert not another.knows(token)


def test_a_refused_token_is_a_fault_that_can_be_planned(sim: Sim, refund: str) -> None:
    sim.plan("guanaitong", f"{APPID}{refund}", submit=["token_refused"])
    assert refund_of(sim, refund)["code"] == 1000210004
    assert sim.book(refund=f"{APPID}{refund}") == []
    assert refund_of(sim, refund)["code"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"outerRefundNo": "R1"},
        {"outerTradeNo": APPID + "1" * 43},
        {"reason": ""},
        {"reason": "退" * 255},
        {"refundAmount": "0"},
        {"refundAmount": "0.001"},
        {"refundAmount": "-1"},
        {"refundAmount": None},
        {"refundAmount": "100000000"},
        {"costAmount": "x"},
        {"tradeInfo": {"isThirdOrders": 1}},
        {"tradeInfo": {"isThirdOrders": 3, "goodsDetail": []}},
        {"tradeInfo": []},
        {"notifyUrl": "x" * 255},
    ],
)
def test_a_request_beyond_the_page_is_refused(
    sim: Sim, refund: str, change: dict[str, Any]
) -> None:
    assert refund_of(sim, refund, **change)["code"] == 1000210002
    assert sim.book(refund=f"{APPID}{refund}") == []
