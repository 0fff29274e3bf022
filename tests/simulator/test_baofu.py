"""Baofu as its page and providers.md say: envelope, bounds, the year, one refund at a time."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from simulator.providers.baofu_envelope import SHANGHAI, signature, verifies
from tests.simulator.harness import BAOFU_KEYS, Sim


def private_key(name: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key((BAOFU_KEYS / name).read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


MERCHANT, PROVIDER = private_key("merchant.pem"), private_key("baofu.pem")
PARTIES = {"merId": "100000", "terId": "100001"}
ENVELOPE = PARTIES | {
    "charset": "UTF-8",
    "version": "1.0",
    "format": "json",
    "timestamp": "20260131120000",
    "signType": "RSA",
    "signSn": "1",
    "ncrptnSn": "1",
}


def ago(**time: int) -> str:
    return (datetime.now(SHANGHAI) - timedelta(**time)).strftime("%Y%m%d%H%M%S")


def raw(sim: Sim, method: str, content: dict[str, Any], **envelope: str) -> Any:
    """The answer's envelope."""
    text = json.dumps(content, ensure_ascii=False)
    form = ENVELOPE | {"method": method, "bizContent": text}
    form |= {"signStr": signature(MERCHANT, text)} | envelope
    answer = requests.post(f"{sim.url}/bf/api", data=form, timeout=5)
    assert answer.status_code == 200
    return answer.json()


def call(sim: Sim, method: str, content: dict[str, Any], **envelope: str) -> Any:
    """The content of a signed answer."""
    answer = raw(sim, method, content, **envelope)
    assert answer["returnCode"] == "SUCCESS"
    assert verifies(PROVIDER.public_key(), answer["dataContent"], answer["signStr"])
    return json.loads(answer["dataContent"])


def body(refund: str, **more: Any) -> dict[str, Any]:
    content = {"originOutTradeNo": f"O{refund}", "outTradeNo": refund, "refundAmt": 30}
    content |= {"totalAmt": 30, "txnTime": ago(days=1), "refundReason": "“不要了”"}
    return {**PARTIES, **content, **more}


def refund_of(sim: Sim, refund: str, **more: Any) -> Any:
    return call(sim, "order_refund", body(refund, **more))


def ask(sim: Sim, **names: str) -> Any:
    return call(sim, "refund_query", {**PARTIES, **names})


@pytest.mark.parametrize(
    ("fate", "states"),
    [
        ("succeed", ["SUCCESS"]),
        ("decline", ["REFUND_ERROR"]),
        ("pending:2", ["REFUND", "SUCCESS"]),
        ("unknown:1", ["ABNORMAL", "SUCCESS"]),
    ],
)
def test_a_submission_is_accepted_at_most_and_the_query_tells(
    sim: Sim, refund: str, fate: str, states: list[str]
) -> None:
    sim.plan("baofu", refund, fate=fate)
    answer = refund_of(sim, refund)
    assert (answer["resultCode"], answer["refundState"]) == ("SUCCESS", "REFUND")
    assert (answer["outTradeNo"], answer["originOutTradeNo"]) == (refund, f"O{refund}")
    assert (answer["refundAmt"], answer["totalAmt"]) == (30, 30)
    found = [ask(sim, outTradeNo=refund) for _ in states]
    assert [reply["refundState"] for reply in found] == states
    assert ask(sim, tradeNo=answer["tradeNo"], outTradeNo="OTHER")["outTradeNo"] == refund


def test_a_number_sent_again_is_replayed_and_with_other_content_refused(
    sim: Sim, refund: str
) -> None:
    assert refund_of(sim, refund) == refund_of(sim, refund)
    assert refund_of(sim, refund, refundAmt=31, totalAmt=31)["errCode"] == "ORDER_EXIST"
    assert sim.entry(refund)["executions"] == 1


def test_an_unknown_number_is_not_found(sim: Sim, refund: str) -> None:
    reply = ask(sim, outTradeNo=refund)
    assert (reply["refundState"], reply["errCode"]) == ("ABNORMAL", "ORDER_NOT_EXIST")


def test_a_refund_beside_one_that_is_under_way_is_refused_until_that_is_final(
    sim: Sim, refund: str
) -> None:
    sim.plan("baofu", f"{refund}a", fate="pending:1")
    refund_of(sim, f"{refund}a", originOutTradeNo="SHARED" + refund)
    second = body(f"{refund}b", originOutTradeNo="SHARED" + refund)
    answer = call(sim, "order_refund", second)
    assert answer["resultCode"] == "FAIL"
    assert (answer["errCode"], answer["outTradeNo"]) == ("NOT_SUPPORT_CONCURRENT", f"{refund}b")
    assert refund_of(sim, f"{refund}a", originOutTradeNo="SHARED" + refund)["resultCode"] != "FAIL"
    assert ask(sim, outTradeNo=f"{refund}a")["refundState"] == "SUCCESS"
    assert call(sim, "order_refund", second)["resultCode"] == "SUCCESS"


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        ({"signStr": "00"}, "VERIFY_ERROR"),
        ({"signStr": "zz"}, "VERIFY_ERROR"),
        ({"bizContent": "{}"}, "VERIFY_ERROR"),
        ({"terId": "100009"}, "MERID_TERID_NOT_MATCH"),
        ({"charset": "GBK"}, "INVALID_PARAMETER"),
        ({"timestamp": "2026-01-31"}, "INVALID_PARAMETER"),
        ({"method": "order_pay"}, "INVALID_PARAMETER"),
        ({"agentMerId": "200000"}, "INVALID_PARAMETER"),
    ],
)
def test_a_wrong_envelope_is_refused(
    sim: Sim, refund: str, envelope: dict[str, str], code: str
) -> None:
    sent = {"method": "order_refund", **envelope}
    assert call(sim, sent.pop("method"), body(refund), **sent)["errCode"] == code
    assert sim.book(refund=refund) == []


def test_a_merchant_that_is_not_known_gets_no_signature(sim: Sim, refund: str) -> None:
    answer = raw(sim, "order_refund", body(refund), merId="9")
    assert answer["returnCode"] == "FAIL"
    assert "signStr" not in answer


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"outTradeNo": "R" * 33}, "INVALID_PARAMETER"),
        ({"refundReason": ""}, "INVALID_PARAMETER"),
        ({"refundReason": "退" * 129}, "INVALID_PARAMETER"),
        ({"refundAmt": 0, "totalAmt": 0}, "INVALID_PARAMETER"),
        ({"refundAmt": "30"}, "INVALID_PARAMETER"),
        ({"totalAmt": 31}, "INVALID_PARAMETER"),
        ({"mktRefundInfo": {"mktMerId": "100000", "mktAmt": 2}}, "INVALID_PARAMETER"),
        ({"originOutTradeNo": ""}, "INVALID_PARAMETER"),
        ({"originTradeNo": "1" * 33}, "INVALID_PARAMETER"),
        ({"notifyUrl": "x" * 129}, "INVALID_PARAMETER"),
        ({"sharingRefundInfo": [{"sharingMerId": "1"}]}, "INVALID_PARAMETER"),
        ({"sharingRefundInfo": [1]}, "INVALID_PARAMETER"),
        ({"advanceAmt": -1}, "INVALID_PARAMETER"),
        ({"txnTime": "20260230000000"}, "INVALID_PARAMETER"),
        ({"txnTime": ago(days=367)}, "ORDER_NOT_SUPPORT_REFUNDS"),
    ],
)
def test_a_request_beyond_the_page_is_refused(
    sim: Sim, refund: str, change: dict[str, Any], code: str
) -> None:
    answer = refund_of(sim, refund, **change)
    assert (answer["resultCode"], answer["errCode"]) == ("FAIL", code)
    assert sim.book(refund=refund) == []


def test_a_marketing_amount_is_part_of_the_total(sim: Sim, refund: str) -> None:
    marketing = {"mktMerId": "100000", "mktAmt": 20}
    answer = refund_of(sim, refund, totalAmt=50, mktRefundInfo=marketing)
    assert (answer["refundAmt"], answer["totalAmt"]) == (30, 50)
    assert ask(sim, outTradeNo=refund)["succAmt"] == 30
