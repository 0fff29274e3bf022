"""Refunds by HTTP: asked for, seen, canceled; whoever asks, and however often."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from refundry import RefundRequest
from tests.gateway.harness import Gateway, job, problem
from tests.integration.builders import race
from worker.ledger.engine import Ledger
from worker.seal_keys import new_key

Names = dict[str, Any]


def rows(gateway: Gateway, sql: str, **values: Any) -> list[Any]:
    with gateway.ledger.read() as connection:
        return list(connection.execute(text(sql), values).all())


def refused(gateway: Gateway, refund_no: str) -> list[Any]:
    sql = "SELECT task, code, job, times FROM refused_jobs WHERE refund_no = :no ORDER BY id"
    return rows(gateway, sql, no=refund_no)


def test_a_refund_is_taken_and_found_where_the_answer_says(gateway: Gateway, names: Names) -> None:
    answer = gateway.post("/refunds", job(**names))
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"account": "shop", **names, "repeated": False}
    seen = gateway.get(answer.headers["Location"])
    assert seen.status_code == 200, seen.text
    shown = seen.json()
    assert (shown["state"], shown["amount"], shown["case"]) == ("queued", 10, None)
    assert shown["attempts"] == []
    assert shown["order"]["reserved"] == 10
    assert shown["order"]["order_no"] == names["order_no"]


def test_the_same_request_is_the_same_refund_and_another_is_a_conflict(
    gateway: Gateway, names: Names
) -> None:
    gateway.post("/refunds", job(**names))
    again = gateway.post("/refunds", job(**names))
    assert (again.status_code, again.json()["repeated"]) == (202, True)
    problem(gateway.post("/refunds", job(**names, amount=11)), 409, "number_used")
    assert [tuple(row)[:2] for row in refused(gateway, names["refund_no"])] == [
        ("POST /refunds", "number_used")
    ]


def test_of_many_that_ask_for_one_number_at_once_one_makes_the_refund(
    gateway: Gateway, names: Names
) -> None:
    answers = race(lambda _: gateway.post("/refunds", job(**names)), 16)
    assert {answer.status_code for answer in answers} == {202}
    assert sorted(answer.json()["repeated"] for answer in answers) == [False] + [True] * 15
    (row,) = rows(gateway, "SELECT reserved FROM orders WHERE order_no = :no", no=names["order_no"])
    assert row.reserved == 10


def test_many_at_once_never_over_refund_an_order(gateway: Gateway, names: Names) -> None:
    order = names["order_no"]
    answers = race(
        lambda number: gateway.post(
            "/refunds", job(order_no=order, refund_no=f"{order}x{number}", amount=30)
        ),
        8,
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [202] * 3 + [409] * 5


def test_every_wrong_field_has_its_sentence(gateway: Gateway, names: Names) -> None:
    wrong = gateway.post("/refunds", job(**names, amount=0, color="red"))
    found = problem(wrong, 422, "invalid")
    assert {said.partition(":")[0] for said in found["problems"]} == {"amount", "color"}
    said = gateway.post("/refunds", job(**names, extra={"shop": "S2"}))
    assert problem(said, 422, "invalid")["problems"]


def test_a_refusal_is_recorded_without_what_may_be_personal_and_not_announced(
    gateway: Gateway, names: Names
) -> None:
    told = {"task": "shop.told"}
    private = {"recipientName": "ZhangSan", "recipientPhone": "13800000000"}
    wrong = job(**names, amount=0, announce=told, extra=private, reason="for ZhangSan")
    problem(gateway.post("/refunds", wrong), 422, "invalid")
    (row,) = refused(gateway, names["refund_no"])
    assert "ZhangSan" not in row.job
    assert "13800000000" not in row.job
    assert rows(gateway, "SELECT id FROM announcements WHERE event = 'refused'") == []
    assert "ZhangSan" not in gateway.log()
    assert "13800000000" not in gateway.log()


def test_who_a_person_is_waits_for_a_key_and_is_then_taken_encrypted(
    gateway: Gateway, own_ledger: Ledger, valkey: str, tmp_path: Path, names: Names
) -> None:
    numbers = {name: f"10000001{number}" for name, number in names.items()}
    wanted = job(**numbers, account="ga", reason="r", extra={"recipientName": "ZhangSan"})
    answer = gateway.post("/refunds", wanted)
    problem(answer, 503, "personal_key")
    assert int(answer.headers["Retry-After"]) > 0
    assert "ZhangSan" not in refused(gateway, numbers["refund_no"])[0].job
    with Gateway(tmp_path, own_ledger, valkey, REFUNDRY_PERSONAL_KEYS=new_key()) as keyed:
        assert keyed.post("/refunds", wanted).status_code == 202
        assert keyed.post("/refunds", wanted).json()["repeated"]
        other = wanted | {"extra": {"recipientName": "LiSi"}}
        problem(keyed.post("/refunds", other), 409, "number_used")
        for table in ("refunds", "events", "personal_data", "refused_jobs"):
            assert "ZhangSan" not in str(rows(keyed, f"SELECT * FROM {table}"))
        assert "ZhangSan" not in keyed.log()


def test_one_that_was_refused_is_not_found_and_says_why(gateway: Gateway, names: Names) -> None:
    gateway.post("/refunds", job(**names, amount=60))
    late = f"{names['refund_no']}late"
    gateway.post("/refunds", job(**names) | {"refund_no": late, "amount": 60})
    found = problem(gateway.get(f"/refunds/shop/{late}"), 404, "refused")
    assert found["refused"][0]["code"] == "over_refund"
    assert "40 left" in found["detail"]
    problem(gateway.get(f"/refunds/till/{late}"), 404, "not_found")
    problem(gateway.get(f"/refunds/shop/{late}x"), 404, "not_found")


def test_numbers_may_hold_what_a_path_is_made_of(gateway: Gateway, names: Names) -> None:
    number = f"{names['refund_no']}/a?b#c%2F."
    answer = gateway.post("/refunds", job(order_no=names["order_no"], refund_no=number))
    assert answer.status_code == 202, answer.text
    assert gateway.get(answer.headers["Location"]).json()["refund_no"] == number


def test_an_acceptance_is_announced_to_the_task_that_the_request_names(
    gateway: Gateway, names: Names
) -> None:
    gateway.post("/refunds", job(**names, announce={"task": "shop.told", "queue": "shop"}))
    sql = "SELECT a.event FROM announcements a JOIN refunds r ON r.id = a.refund_id"
    (row,) = rows(gateway, f"{sql} WHERE r.refund_no = :no", no=names["refund_no"])
    assert row.event == "accepted"


def test_what_was_never_sent_is_canceled_once(gateway: Gateway, names: Names) -> None:
    gateway.post("/refunds", job(**names))
    path = f"/refunds/shop/{names['refund_no']}/cancel"
    assert gateway.post(path).status_code == 200
    assert gateway.get(f"/refunds/shop/{names['refund_no']}").json()["state"] == "canceled"
    problem(gateway.post(path), 409, "not_cancelable")
    problem(gateway.post("/refunds/shop/none/cancel"), 404, "not_found")


def test_only_what_failed_is_sent_again(gateway: Gateway, names: Names) -> None:
    gateway.post("/refunds", job(**names))
    path = f"/refunds/shop/{names['refund_no']}/resubmit"
    problem(gateway.post(path, {"after_attempt": 1}), 409, "not_failed")
    found = problem(gateway.post(path, {"after_attempt": 0, "x": 1}), 422, "invalid")
    assert len(found["problems"]) == 2


def test_an_order_is_held_and_released_by_its_token_alone(gateway: Gateway, names: Names) -> None:
    gateway.post("/refunds", job(**names))
    order = f"/orders/shop/{names['order_no']}"
    held = gateway.post(f"{order}/hold")
    assert held.status_code == 200
    assert gateway.get(f"/refunds/shop/{names['refund_no']}").json()["order"]["held"] is True
    problem(gateway.post(f"{order}/hold"), 409, "held")
    problem(gateway.post(f"{order}/release", {"token": "another"}), 409, "not_held")
    released = gateway.post(f"{order}/release", {"token": held.json()["token"]})
    assert released.json() == {"account": "shop", "order_no": names["order_no"]}
    problem(gateway.post("/orders/shop/none/hold"), 404, "not_found")


def test_without_a_good_token_nobody_gets_further(gateway: Gateway, names: Names) -> None:
    paths = [
        ("POST", "/refunds"),
        ("GET", f"/refunds/shop/{names['refund_no']}"),
        ("POST", "/orders/shop/O/hold"),
        ("POST", "/orders/shop/O/release"),
        ("POST", f"/refunds/shop/{names['refund_no']}/cancel"),
        ("POST", f"/refunds/shop/{names['refund_no']}/resubmit"),
    ]
    for method, path in paths:
        for token in ("wrong", "", "é"):
            headers = {"Authorization": f"Bearer {token}".encode()}
            answer = gateway.call(method, path, data=b"{", headers=headers)
            assert "Bearer" in answer.headers["WWW-Authenticate"]
            problem(answer, 401, "unauthorised")


def test_a_token_opens_its_own_accounts_and_tells_nothing_of_others(
    gateway: Gateway, names: Names
) -> None:
    gateway.post("/refunds", job(**names))
    own = gateway.token("till", "till", "hk")
    number = names["refund_no"]
    for account in ("shop", "nobody"):
        there = problem(gateway.get(f"/refunds/{account}/{number}", own), 403, "forbidden")
        absent = problem(gateway.get(f"/refunds/{account}/absent", own), 403, "forbidden")
        assert there == absent
        answer = gateway.post("/refunds", job(**names, account=account), own)
        problem(answer, 403, "forbidden")
        problem(gateway.post(f"/orders/{account}/O/hold", token=own), 403, "forbidden")
    problem(gateway.get(f"/refunds/till/{number}", own), 404, "not_found")
    assert gateway.post("/refunds", job(**names, account="till"), own).status_code == 202
    assert refused(gateway, number) == []


def test_accounts_that_there_are_not_are_not_listed(gateway: Gateway, names: Names) -> None:
    answer = gateway.post("/refunds", job(**names, account="nobody"))
    found = problem(answer, 404, "unknown_account")
    assert "till" not in found["detail"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed"),
        (b"{", 400, "malformed"),
        (b"\xff", 400, "malformed"),
        (b"[" * 60_000, 400, "malformed"),
        (b'{"a": NaN}', 400, "malformed"),
        (b'{"a": 1, "a": 1}', 400, "malformed"),
        (b'{"a": ' + b"1" * 5000 + b"}", 400, "malformed"),
        (b"[]", 422, "invalid"),
        (b'"x"', 422, "invalid"),
        (b"null", 422, "invalid"),
        (b'{"account": 7}', 422, "invalid"),
        (b'{"account": "shop", "\\ud800\\u0000": "\\ud800"}', 422, "invalid"),
        (b'{"account": "shop", "a\\u0007\\u2028b": 1}', 422, "invalid"),
    ],
)
def test_what_is_no_request_is_answered_with_what_is_wrong(
    gateway: Gateway, body: bytes, status: int, code: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = gateway.call("POST", "/refunds", data=body, headers=headers)
    problem(answer, status, code)
    assert answer.text.isprintable()


def test_the_document_describes_every_field_of_a_refund(gateway: Gateway) -> None:
    document = gateway.get("/openapi.json", headers={"Authorization": ""}).json()
    described = document["components"]["schemas"]["RefundRequest"]["properties"]
    assert set(described) == set(RefundRequest.model_fields)
    media = document["paths"]["/refunds"]["post"]["requestBody"]["content"]["application/json"]
    RefundRequest.read(media["example"])
    for path in ("/docs", "/redoc"):
        problem(gateway.get(path), 404, "no_such_page")
