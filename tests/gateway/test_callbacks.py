"""Providers' notifications by HTTP: the bytes reach the step, the answer is the provider's own."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from tests.gateway.harness import Gateway, job, problem
from worker.providers.signatures import md5_sign

KEY = "123456789ABCDEF"


def told(**fields: Any) -> bytes:
    """What hkrt says of a refund that was executed."""
    said = {"accessid": "cpostest", "refund_no": "P1", "trade_status": "1", "refund_amount": "0.10"}
    said |= fields
    return json.dumps(said | {"sign": md5_sign(said, KEY)}, ensure_ascii=False).encode()


def notify(gateway: Gateway, account: str, body: bytes, **how: Any) -> Any:
    headers = {"Authorization": "", "Content-Type": "application/json; charset=GBK"}
    return gateway.call("POST", f"/callbacks/{account}", data=body, headers=headers, **how)


def stored(gateway: Gateway, refund_no: str) -> list[Any]:
    with gateway.ledger.read() as connection:
        sql = "SELECT body, content_type, times FROM callbacks WHERE refund_no = :no"
        return list(connection.execute(text(sql), {"no": refund_no}).all())


def test_a_signed_notification_is_stored_as_it_came_and_answered_in_the_providers_words(
    gateway: Gateway, names: dict[str, Any]
) -> None:
    assert gateway.post("/refunds", job(**names, account="hk")).status_code == 202
    body = told(out_refund_no=names["refund_no"], status_msg="退款成功")
    for _ in range(2):
        answer = notify(gateway, "hk", body)
        assert (answer.status_code, answer.text) == (200, '{"return_code":"SUCCESS"}')
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    (row,) = stored(gateway, names["refund_no"])
    assert bytes(row.body) == body
    assert (row.content_type, row.times) == ("application/json; charset=GBK", 2)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff\x00", told(out_refund_no="F1")[:-3] + b'0"}'])
def test_what_is_not_rightly_signed_is_declined_and_not_kept(gateway: Gateway, body: bytes) -> None:
    answer = notify(gateway, "hk", body)
    assert (answer.status_code, answer.text) == (400, '{"return_code":"FAIL"}')
    assert stored(gateway, "F1") == []


def test_an_account_that_takes_none_is_not_found_and_no_account_is_named(gateway: Gateway) -> None:
    problem(notify(gateway, "shop", b"x"), 404, "no_notifications")
    found = problem(notify(gateway, "nobody", b"x"), 404, "unknown_account")
    assert "till" not in found["detail"]


def test_a_chunked_notification_is_read_whole(gateway: Gateway, names: dict[str, Any]) -> None:
    body = told(out_refund_no=names["refund_no"])
    parts = iter([body[:30], body[30:]])
    answer = notify(gateway, "hk", parts)  # type: ignore[arg-type]  # requests sends it in chunks
    assert answer.status_code == 200, answer.text
