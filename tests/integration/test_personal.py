"""Personal data never travels in a task: such a job is refused, and nothing of it is kept."""

from __future__ import annotations

import base64
import importlib
import json
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from refundry import TASK_REQUEST
from tests.integration.builders import Shop
from tests.integration.conftest import MakeShop
from tests.providers.harness import OWN_OPTIONS
from tests.simulator.harness import APPID
from worker.errors import Refused, ServiceAway
from worker.ledger.engine import Ledger
from worker.personal import masked, personal_in
from worker.seal_keys import new_key
from worker.seals import Seals
from worker.steps.intake import accept
from worker.steps.refuse import refuse

NAMES = frozenset({"recipientName", "recipientPhone", "recipientAddress"})
PERSON = {"recipientName": "张三", "recipientPhone": "13800000000", "recipientAddress": "某路 1 号"}


@pytest.fixture
def shop(ledger: Ledger, make_shop: MakeShop) -> Shop:
    own = {"provider": "guanaitong", "base_url": "http://127.0.0.1:9/gat"}
    shop = make_shop(ledger, shop=own | OWN_OPTIONS["guanaitong"], plain={})
    shop.usual |= {"order_no": f"{APPID}O1", "refund_no": f"{APPID}R1", "reason": "退"}
    return shop


@pytest.fixture
def intake(valkey: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The task's module; importing it needs to know a broker."""
    monkeypatch.setenv("REFUNDRY_BROKER_URL", valkey)
    return importlib.import_module("tasks.intake")


@pytest.fixture
def consumer(intake: ModuleType, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = importlib.import_module("tasks.consumer")
    monkeypatch.setattr(module, "get_runtime", lambda: shop.runtime)
    return module


def kept(shop: Shop) -> str:
    """Everything that the ledger keeps of refused jobs and their announcements."""
    rows = shop.rows("SELECT job, reason FROM refused_jobs")
    told = shop.rows("SELECT payload FROM announcements")
    return str(rows) + str(told)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": PERSON},
        {"extra": {"recipientName": "张三"}},
        {"extra": {"tradeInfo": {"thirdOrders": [PERSON]}}},
        {"recipientName": "张三"},
        {"account": "plain", "extra": PERSON},
        {"account": "none of ours", "extra": PERSON},
    ],
)
def test_a_task_with_personal_data_is_refused_and_masked(
    shop: Shop, intake: ModuleType, change: dict[str, Any]
) -> None:
    job = shop.job(**change, announce={"task": "shop.told"})
    intake._request(shop.runtime, job)
    assert shop.value("SELECT code FROM refused_jobs") == "personal_data"
    assert "send this refund to the gateway" in shop.value("SELECT reason FROM refused_jobs")
    text = kept(shop)
    for value in PERSON.values():
        assert value not in text
        assert json.dumps(value)[1:-1] not in text
    assert shop.value("SELECT count(*) FROM refunds") == 0


def test_the_gateway_may_pass_personal_data_on(shop: Shop) -> None:
    accept(replace(shop.runtime, seals=Seals([new_key()])), shop.job(extra=PERSON))
    assert shop.value("SELECT count(*) FROM refunds") == 1


def test_a_task_without_personal_data_is_taken(shop: Shop, intake: ModuleType) -> None:
    empty = dict.fromkeys(PERSON)
    assert intake._request(shop.runtime, shop.job(extra={"shopName": "店", **empty})) is not None
    assert shop.value("SELECT count(*) FROM refunds") == 1


def test_a_personal_field_in_the_wrong_place_is_named_without_its_value(shop: Shop) -> None:
    with pytest.raises(Refused, match="recipientName") as raised:
        accept(shop.runtime, shop.job(recipientName="张三"))
    assert "张三" not in f"{raised.value}{raised.value.problems}"


def test_nothing_personal_is_kept_of_a_job_that_is_refused_for_anything_else(shop: Shop) -> None:
    job = {"args": [shop.job(extra=PERSON)], "kwargs": {}}
    refuse(shop.runtime, TASK_REQUEST, job, Refused("internal", "a fault"))
    assert "张三" not in kept(shop)
    assert json.dumps("张三")[1:-1] not in kept(shop)


class Message:
    """A message as the consumer sees it."""

    content_type = "application/json"
    body = b""

    def __init__(self, kwargs: dict[str, Any]) -> None:
        self.payload: Any = [[kwargs], kwargs, {}]
        self.headers: dict[str, Any] = {"argsrepr": repr([kwargs]), "kwargsrepr": repr(kwargs)}


def test_what_flower_is_shown_of_a_message_is_masked(shop: Shop, consumer: ModuleType) -> None:
    message = Message(shop.job(extra=PERSON))
    consumer._hide_private(message)
    assert "张三" not in str(message.headers)
    assert "'recipientName': '***'" in message.headers["kwargsrepr"]
    assert f"{APPID}R1" in message.headers["kwargsrepr"]


def test_a_message_that_cannot_be_read_shows_nothing(consumer: ModuleType) -> None:
    message = Message(PERSON)
    message.payload = None
    consumer._hide_private(message)
    assert message.headers["kwargsrepr"] == "{}"


def test_what_is_nested_too_deep_to_be_written_is_shown_as_nothing(
    consumer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task refuses it, and says why."""
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"extra": deep}
    monkeypatch.setattr(consumer, "_shown", lambda kwargs: deep)
    message = Message(PERSON)
    consumer._hide_private(message)
    assert message.headers["kwargsrepr"] == "{...}"


def test_nothing_personal_is_kept_of_a_message_that_names_no_task_of_ours(
    shop: Shop, consumer: ModuleType
) -> None:
    message = Message(shop.job(extra=PERSON))
    body = json.dumps(message.payload).encode()
    message.headers["task"], message.body = "refunds.requset", body
    assert consumer._recorded(message, ValueError("there is no such task"))
    assert base64.b64encode(body).decode()[:80] not in kept(shop)
    assert json.dumps("张三")[1:-1] not in kept(shop)
    assert f"{APPID}R1" in kept(shop)


def test_where_it_cannot_be_told_what_is_personal_nothing_is_shown(
    consumer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise ServiceAway("the ledger")

    monkeypatch.setattr(consumer, "get_runtime", away)
    message = Message(PERSON)
    consumer._hide_private(message)
    assert message.headers == {"argsrepr": "(...)", "kwargsrepr": "{}"}


def test_a_job_of_any_depth_is_masked() -> None:
    deep: Any = {"recipientName": "张三"}
    for _ in range(5000):
        deep = [deep]
    assert "张三" not in str(masked(deep, NAMES))
    assert personal_in(deep, NAMES) == set()
    assert masked(deep, frozenset()) is deep
