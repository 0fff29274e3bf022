"""Hostile jobs and rightly signed rubbish: refused or recorded, bounded, and nothing is sent."""

from __future__ import annotations

import importlib
import json
import math
import time
import tracemalloc
from types import ModuleType
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from simulator.providers.baofu_envelope import signature as baofu_signature
from simulator.providers.guanaitong import signature as guanaitong_signature
from tests.integration.builders import NOWHERE, Shop
from tests.integration.conftest import MakeShop
from tests.integration.notifications import sent
from tests.providers.conformance import PAID_AT
from tests.providers.harness import BAOFU, OWN_OPTIONS, hkrt_signed
from tests.simulator.harness import APPID, GAT_SECRET
from worker.ledger.engine import Ledger
from worker.providers.http import form_body
from worker.steps.notify import take_notification

#: Values that JSON can carry to a task and that no refund has.
NASTY: Final[dict[str, Any]] = {
    "beyond 64 bit": 2**64,
    "4,000 digits": 10**4000,
    "minus": -1,
    "infinity": math.inf,
    "no number": math.nan,
    "a fraction": 0.5,
    "true": True,
    "NUL": "R\x00",
    "half a pair": "R\ud800",
    "an escape": "R\x1b[31m\x9b31m",
    "lines": 'R\n{"event": "forged"}\r\x85\u2028',
    "a megabyte": "x" * 1_000_000,
    "nothing": None,
    "a list": [["\x00"]],
    "an object": {"\ud800": {"\x00": "\x00"}},
}
FIELDS: Final = (
    *("account", "order_no", "refund_no", "amount", "order_amount", "paid_amount", "currency"),
    *("refunded_before", "paid_at", "reason", "operator", "items", "extra", "expected_refunded"),
    *("announce", "unknown\x1b[31m"),
)
#: JSON texts that a provider may sign, each in the place of any field.
RUBBISH: Final = (
    *("null", "true", "0", "-1", "1e999", "18446744073709551616", "9" * 5000, "0.500000000001"),
    *('""', '"\\u0000"', '"R1\\u0000"', '"\\u001b[31m"', '"a\\nb\\u0085\\u2028"', '"\\ufeffR1"'),
    *('"１０"', '"R1&out_refund_no=R2"', '"<!DOCTYPE a>"', json.dumps("x" * 20_000), "[]", "{}"),
    *("[[[[[[[[1]]]]]]]]", '{"a":{"a":{"a":"\\u0000"}}}', '["R1"]'),
)
#: What each provider says of the refund that the tests have sent, field by field as JSON text.
RIGHT: Final[dict[str, dict[str, str]]] = {
    "hkrt": {
        "out_refund_no": '"R1"',
        "out_trade_no": '"O1"',
        "refund_no": '"WX1"',
        "trade_status": '"1"',
        "refund_amount": '"0.10"',
        "refunded_amount": '"0.10"',
    },
    "baofu": {
        "merId": '"100000"',
        "terId": '"100001"',
        "outTradeNo": '"R1"',
        "originOutTradeNo": '"O1"',
        "tradeNo": '"BF1"',
        "refundState": '"SUCCESS"',
        "refundAmt": "10",
        "totalAmt": "10",
        "succAmt": "10",
    },
    "guanaitong": {
        "appid": f'"{APPID}"',
        "outer_trade_no": f'"{APPID}O1"',
        "outer_refund_no": f'"{APPID}R1"',
        "refund_amount": '"0.10"',
        "trade_no": '"GAT1"',
        "timestamp": '"1769832000"',
    },
}
JOB: Final[dict[str, dict[str, Any]]] = {
    "hkrt": {},
    "baofu": {"reason": "退", "paid_at": PAID_AT.isoformat(timespec="seconds")},
    "guanaitong": {"order_no": f"{APPID}O1", "refund_no": f"{APPID}R1", "reason": "退"},
}
PATHS: Final = {"hkrt": "hk", "baofu": "bf/api", "guanaitong": "gat"}
slow_but_shared = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def signed(provider: str, fields: dict[str, str]) -> tuple[str, bytes]:
    """The notification with the provider's own signature: content type and body."""
    text = "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"
    if provider == "hkrt":
        return "application/json", hkrt_signed(text)
    if provider == "baofu":
        signature = baofu_signature(BAOFU.private_key, text)
        form = {"notifyType": "REFUND", "signStr": signature, "dataContent": text}
    else:
        plain = {name: value.strip('"') for name, value in fields.items()}
        form = plain | {"sign": guanaitong_signature(plain, GAT_SECRET)}
    return "application/x-www-form-urlencoded", form_body(form)


@pytest.mark.parametrize("provider", RIGHT)
def test_rightly_signed_rubbish_is_stored_or_counted_and_breaks_nothing(
    provider: str, ledger: Ledger, make_shop: MakeShop
) -> None:
    urls = {"base_url": f"{NOWHERE}/{PATHS[provider]}", "notify_url": f"{NOWHERE}/callbacks/shop"}
    shop = make_shop(ledger, shop={"provider": provider, **urls, **OWN_OPTIONS[provider]})
    sent(shop, **JOB[provider])
    declined: Any = shop.runtime.lines["shop"].provider
    right = RIGHT[provider]

    def taken() -> int:
        stored = shop.value("SELECT coalesce(sum(times), 0) FROM callbacks")
        return int(stored + shop.value("SELECT coalesce(sum(times), 0) FROM refused_callbacks"))

    @given(changes=st.dictionaries(st.sampled_from(sorted(right)), st.sampled_from(RUBBISH)))
    @slow_but_shared
    def holds(changes: dict[str, str]) -> None:
        before = taken()
        told = take_notification(shop.runtime, "shop", *signed(provider, right | changes))
        assert told.answer in (declined.taken, declined.declined)
        assert taken() == before + 1

    holds()
    assert shop.value("SELECT count(*) FROM callbacks") > 1
    assert shop.value("SELECT max(attempt) FROM refunds") == 1
    assert not [found for found in shop.audit() if not found.warning]


@pytest.fixture
def intake(shop: Shop, valkey: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The task's module, at work for the shop; importing it needs to know a broker."""
    monkeypatch.setenv("REFUNDRY_BROKER_URL", valkey)
    for name in ("intake", "consumer"):
        module = importlib.import_module(f"tasks.{name}")
        monkeypatch.setattr(module, "get_runtime", lambda: shop.runtime)
    found = importlib.import_module("tasks.intake")
    monkeypatch.setattr(found, "wake", lambda order_ids: None)
    return found


@pytest.mark.parametrize("field", FIELDS, ids=ascii)
def test_a_task_takes_or_records_whatever_stands_in_a_field(
    field: str, shop: Shop, intake: ModuleType
) -> None:
    for number, value in enumerate(NASTY.values(), start=1):
        job = shop.job(order_no=f"O{number}", refund_no=f"R{number}", announce={"task": "told"})
        intake.request(**(job | {field: value}))
        taken = shop.value("SELECT count(*) FROM refunds")
        assert taken + shop.value("SELECT sum(times) FROM refused_jobs") == number
    assert shop.value("SELECT max(length(job)) FROM refused_jobs") <= 4000
    assert shop.value("SELECT max(length(reason)) FROM refused_jobs") <= 2001
    kept = shop.rows("SELECT task, reason, account, refund_no, code FROM refused_jobs")
    assert all(str(part).isprintable() for row in kept for part in row)
    told = [str(row.payload) for row in shop.rows("SELECT payload FROM announcements")]
    assert max(map(len, told), default=0) <= 4000
    assert shop.value("SELECT count(*) FROM attempts WHERE status <> 'never_sent'") == 0


#: Jobs that cost most: each is as long as a message may be.
COSTLY: Final[dict[str, Any]] = {
    "many fields": {f"{number:07}": 1 for number in range(35_000)},
    "a long field": {"x" * 500_000: 1},
    "many items": {"items": [0] * 170_000},
    "many wrong items": {"items": [0.5] * 100_000},
    "many names": {"extra": {f"{number:07}": "" for number in range(40_000)}},
    "deep lists": {"items": json.loads("[" * 900 + "]" * 900)},
    "digits": {"order_no": 10**4000, "amount": -(10**4000), "items": [10**4000] * 120},
}


@pytest.mark.parametrize("cost", COSTLY)
def test_the_most_costly_jobs_take_bounded_time_and_memory(
    cost: str, shop: Shop, intake: ModuleType
) -> None:
    began = time.thread_time()
    intake.request(**shop.job(**COSTLY[cost]))
    assert time.thread_time() - began < 3
    tracemalloc.start()
    intake.request(**shop.job(**COSTLY[cost]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20
    ((times, size),) = shop.rows("SELECT times, length(job) + length(reason) FROM refused_jobs")
    assert (times, size < 7000) == (2, True)


class TooLong:
    """A message as the consumer sees it, of which nobody should read the body."""

    content_type = "application/json"
    headers: Final = {"task": "refunds.request"}

    def __init__(self, text: str) -> None:
        self.body = b"[[], {" + text.encode() * 500_000 + b"}, {}]"

    @property
    def payload(self) -> Any:
        raise AssertionError("its body was read")


def test_of_a_message_that_is_too_long_is_kept_how_to_know_it_again(
    shop: Shop, intake: ModuleType
) -> None:
    consumer = importlib.import_module("tasks.consumer")
    for text in ("张", "张", "三"):
        with pytest.raises(ValueError, match="has more than 524288 bytes") as caught:
            consumer._check_shape(TooLong(text))
        assert consumer._recorded(TooLong(text), caught.value)
    rows = shop.rows("SELECT times, job FROM refused_jobs ORDER BY id")
    assert [row.times for row in rows] == [2, 1]
    assert all(set(json.loads(row.job)) == {"content_type", "bytes", "sha256"} for row in rows)


def test_a_row_that_the_database_refuses_is_in_no_error(shop: Shop) -> None:
    """PostgreSQL shows all of it, beside the constraint: what is personal too."""
    shop.accept(reason="PERSON")
    with pytest.raises(IntegrityError) as caught:
        shop.execute("UPDATE refunds SET amount = 0")
    told = f"{caught.value!r} {caught.value} {caught.value.orig!r} {caught.value.orig}"
    assert "PERSON" not in told
    assert "ck_refunds_" in told
