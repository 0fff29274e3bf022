"""What only Guanaitong asks for: its numbers, decimals and goods, its notifications and tokens."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from config.errors import ConfigError
from refundry import RefundRequest
from tests.providers.harness import account, facts
from tests.simulator.harness import APPID, GAT_SECRET
from worker.errors import NoAnswer
from worker.providers import guanaitong
from worker.providers.base import Notifies, Personal, Tokened, load_provider
from worker.providers.signatures import sha1_matches, sha1_sign
from worker.refund import Verdict

NOW = datetime(2026, 1, 31, 4, tzinfo=UTC)
REFUND = facts(order_no=f"{APPID}101", refund_no=f"{APPID}201", amount=1000, order_amount=1000)
FORM = "application/x-www-form-urlencoded"
GOODS = {"skuCode": "1", "skuName": "奶", "quantity": 2, "price": "2.50", "amount": "5"}
PART = {"outerTradeNo": f"{APPID}1", "thirdSubTradeNo": "S1", "thirdSubRefundNo": "S2"}
PART |= {"thirdSubRefundAmount": "5.00", "thirdSubCostAmount": "5.00"}
TRADE = {"thirdTradeNo": "T1", "thirdRefundNo": "T2", "thirdRefundAmount": "5.00"}
TRADE |= {"thirdCostAmount": "5.00"}
WITH_GOODS = {**TRADE, "isThirdOrders": 2, "goodsDetail": [GOODS]}
WITH_PARTS = {**TRADE, "isThirdOrders": 1, "thirdOrders": [PART, PART]}


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guanaitong, "now", lambda: NOW)


def requested(**changed: Any) -> RefundRequest:
    job = {"account": "main", "order_no": f"{APPID}101", "refund_no": f"{APPID}201"}
    return RefundRequest.read({**job, "amount": 500, "order_amount": 900, "reason": "退"} | changed)


def problems(own: dict[str, Any] | None = None, **changed: Any) -> str:
    """What intake says of a job; empty where it takes it."""
    return "; ".join(load_provider(account("guanaitong", **own or {})).check(requested(**changed)))


def doubts(own: dict[str, Any] | None = None, **changed: Any) -> str:
    """What intake warns of."""
    return "; ".join(load_provider(account("guanaitong", **own or {})).doubts(requested(**changed)))


def trade(base: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {"extra": {"tradeInfo": base | changed}}


class TestSignature:
    def test_is_the_sha1_of_what_stands_here(self) -> None:
        text = "a=1&appsecret=S3cret&b=&c=“=&”"
        right = hashlib.sha1(text.encode()).hexdigest()
        assert right == "e506260a2d8b5bcf6b3fbbdaf9cface17788b7e5"
        fields = {"c": "“=&”", "b": "", "a": "1"}
        assert sha1_sign(fields | {"sign": "x"}, "S3cret") == right
        assert sha1_matches(fields | {"sign": right}, "S3cret")

    @pytest.mark.parametrize("sign", ["", "x", "é", "e506260a2d8b5bcf6b3fbbdaf9cface17788b7e5"])
    def test_holds_for_its_fields_and_its_secret_alone(self, sign: str) -> None:
        assert not sha1_matches({"a": "1", "b": "", "c": "", "sign": sign}, "S3cret")
        assert not sha1_matches({"a": "1"}, "S3cret")

    def test_covers_the_body_and_the_query_but_the_signature(self) -> None:
        provider = load_provider(account("guanaitong"))
        assert isinstance(provider, Tokened)
        call = provider.with_token(provider.submission(REFUND), "TOKEN+/=")
        sent = dict(parse_qsl(urlsplit(call.url).query))
        assert set(sent) == {
            *("appid", "access_token", "timestamp", "grant_type", "version", "sign")
        }
        assert sent["access_token"] == "TOKEN+/="
        assert sha1_matches({**sent, "_body": call.body.decode()}, GAT_SECRET)
        assert not sha1_matches({**sent, "_body": call.body.decode() + " "}, GAT_SECRET)


@pytest.mark.parametrize(
    "change",
    [
        {"appid": ""},
        {"appid": "1" * 41},
        {"appid": "1&2"},
        {"appsecret": "env:NOT_SET_ANYWHERE"},
        {"field_style": "kebab"},
        {"refund_statuses": {"1": "refunded"}},
        {"price_difference": "maybe"},
        {"serialisation": "until_accepted"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_setting_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))) as raised:
        load_provider(account("guanaitong", **change))
    assert GAT_SECRET not in str(raised.value)


def test_a_submission_has_a_connection_of_its_own_and_a_question_need_not() -> None:
    provider = load_provider(account("guanaitong"))
    assert isinstance(provider, Tokened)
    calls = [provider.submission(REFUND), provider.question(REFUND), provider.token_call()]
    assert [call.fresh for call in calls] == [True, False, False]
    assert provider.with_token(calls[0], "T").fresh


def test_a_provider_that_does_not_deduplicate_says_so() -> None:
    traits = load_provider(account("guanaitong")).traits
    assert not any((traits.deduplicates, traits.resubmits, traits.allows_until_accepted))


def test_what_says_who_a_person_is_is_named() -> None:
    provider = load_provider(account("guanaitong"))
    assert isinstance(provider, Personal)
    assert provider.personal == {"recipientName", "recipientPhone", "recipientAddress"}


class TestIntake:
    @pytest.mark.parametrize(
        "change",
        [
            {},
            {"refund_no": APPID + "a" * 42, "order_no": APPID + "-" * 42, "reason": "退" * 254},
            {"amount": 1},
            {"amount": 9_999_999_999, "order_amount": 9_999_999_999},
            {"extra": {"costAmount": "0"}},
            {"extra": {"costAmount": "99999999.99", "deliveryFee": "0.01", "shopName": None}},
            {"extra": {"shopAddress": "a" * 500, "poi2ndCateDesc": "b" * 100, "cityName": ""}},
            {"extra": {"recipientName": "张三", "recipientPhone": "1", "recipientAddress": "x"}},
            trade(WITH_GOODS),
            trade(WITH_PARTS, thirdDeliveryFee="0.00", goodsDetail=[]),
            trade(WITH_PARTS, thirdOrders=[{**PART, "goodsDetail": [GOODS]}]),
        ],
    )
    def test_what_the_page_takes_is_taken(self, change: dict[str, Any]) -> None:
        assert problems(**change) == ""

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"refund_no": "R201"}, "refund_no: must begin with the appid"),
            ({"order_no": f"O{APPID}"}, "order_no: must begin with the appid"),
            ({"refund_no": APPID + "a" * 43}, "refund_no: guanaitong takes 2 to 50"),
            ({"order_no": APPID + "a" * 43}, "order_no: guanaitong takes 2 to 50"),
            ({"reason": ""}, "reason: is mandatory"),
            ({"reason": " "}, "reason: is mandatory"),
            ({"reason": "退" * 255}, "reason: has more than the 254"),
            ({"currency": "USD"}, "currency: "),
            ({"items": [{"skuCode": "1"}]}, "items: "),
            ({"extra": {"costAmount": 5}}, "extra.costAmount: "),
            ({"extra": {"costAmount": "-1"}}, "extra.costAmount: "),
            ({"extra": {"costAmount": "1e2"}}, "extra.costAmount: "),
            ({"extra": {"costAmount": "1.234"}}, "extra.costAmount: "),
            ({"extra": {"costAmount": "１.00"}}, "extra.costAmount: "),
            ({"extra": {"costAmount": "100000000"}}, "extra.costAmount: "),
            ({"extra": {"deliveryFee": "0.00"}}, "extra.deliveryFee: "),
            ({"extra": {"shopPhone": "1" * 51}}, "extra.shopPhone: "),
            ({"extra": {"shopName": "a" * 101}}, "extra.shopName: "),
            ({"extra": {"recipientAddress": "a" * 501}}, "extra.recipientAddress: "),
            ({"extra": {"notifyUrl": "https://x"}}, "extra.notifyUrl: "),
            ({"extra": {"refundAmount": "1"}}, "extra.refundAmount: "),
            ({"extra": {"cost_amount": "1"}}, "extra.cost_amount: "),
            (trade(TRADE), "extra.tradeInfo.isThirdOrders: "),
            (trade(WITH_GOODS, isThirdOrders=3), "extra.tradeInfo.isThirdOrders: "),
            (trade(WITH_GOODS, isThirdOrders="2"), "extra.tradeInfo.isThirdOrders: "),
            (
                trade(WITH_GOODS, isThirdOrders=1),
                "extra.tradeInfo: Value error, isThirdOrders is 1",
            ),
            (
                trade(WITH_PARTS, isThirdOrders=2),
                "extra.tradeInfo: Value error, isThirdOrders is 2",
            ),
            (trade(WITH_PARTS, thirdOrders=[]), "extra.tradeInfo: Value error, isThirdOrders is 1"),
            (trade(WITH_GOODS, thirdRefundAmount="0"), "extra.tradeInfo.thirdRefundAmount: "),
            (trade(WITH_GOODS, thirdCostAmount=None), "extra.tradeInfo.thirdCostAmount: "),
            (
                trade(WITH_GOODS, goodsDetail=[{**GOODS, "quantity": 0}]),
                "extra.tradeInfo.goodsDetail.0.quantity: ",
            ),
            (
                trade(WITH_GOODS, goodsDetail=[{**GOODS, "invoiceType": 3}]),
                "extra.tradeInfo.goodsDetail.0.invoiceType: ",
            ),
            (
                trade(WITH_GOODS, goodsDetail=[{**GOODS, "taxUnit": "a" * 21}]),
                "extra.tradeInfo.goodsDetail.0.taxUnit: ",
            ),
            (
                trade(WITH_PARTS, thirdOrders=[{**PART, "outerTradeNo": "X1"}]),
                "extra.tradeInfo.thirdOrders.0.outerTradeNo: must begin with the appid",
            ),
            (
                trade(WITH_PARTS, thirdOrders=[{**PART, "thirdSubTradeNo": ""}]),
                "extra.tradeInfo.thirdOrders.0.thirdSubTradeNo: ",
            ),
        ],
    )
    def test_what_the_page_does_not_take_is_named(self, change: dict[str, Any], field: str) -> None:
        assert problems(**change).startswith(field)

    @pytest.mark.parametrize(
        ("extra", "taken"),
        [
            ({}, False),
            ({"costAmount": None, "deliveryFee": "1"}, False),
            ({"costAmount": "0"}, True),
            ({"tradeInfo": WITH_GOODS}, True),
        ],
    )
    def test_a_price_difference_names_what_it_cost(
        self, extra: dict[str, Any], taken: bool
    ) -> None:
        assert (problems({"price_difference": True}, extra=extra) == "") is taken
        assert problems(extra=extra) == ""

    @pytest.mark.parametrize(
        ("change", "warned"),
        [
            ({}, ""),
            (trade(WITH_GOODS), ""),
            (trade(WITH_GOODS, thirdRefundAmount="5", thirdCostAmount="5.0"), ""),
            (trade(WITH_GOODS, thirdRefundAmount="6"), "thirdRefundAmount is 6, not 5.00"),
            (trade(WITH_GOODS, thirdCostAmount="4"), "without price_difference"),
            (trade(WITH_GOODS, goodsDetail=[{**GOODS, "amount": "4.99"}]), "goods 1: amount"),
            (trade(WITH_PARTS), "the parts are 10.00 together, not 5.00"),
            (
                trade(WITH_PARTS, thirdOrders=[{**PART, "goodsDetail": [{**GOODS, "price": "1"}]}]),
                "goods 1: amount",
            ),
        ],
    )
    def test_a_sum_that_does_not_come_out_is_a_doubt_and_no_refusal(
        self, change: dict[str, Any], warned: str
    ) -> None:
        assert problems(**change) == ""
        assert warned in doubts(**change)
        assert bool(warned) is bool(doubts(**change))

    def test_what_was_taken_can_be_sent(self) -> None:
        provider = load_provider(account("guanaitong", field_style="snake"))
        extra = trade(WITH_PARTS)["extra"]
        body = provider.submission(facts(reason="退", extra=extra)).body.decode()
        assert '"third_sub_refund_amount":"5.00"' in body
        assert "thirdSub" not in body


def notified(**changed: Any) -> bytes:
    """The page's example of a notification, signed by hand; None leaves a field out."""
    fields = {
        "appid": APPID,
        "outer_trade_no": REFUND.order_no,
        "outer_refund_no": REFUND.refund_no,
        "refund_amount": "10.0",
        "trade_no": "2018070920000005",
        "timestamp": str(int(NOW.timestamp())),
    }
    fields = {name: text for name, text in (fields | changed).items() if text is not None}
    text = "&".join(f"{n}={v}" for n, v in sorted({**fields, "appsecret": GAT_SECRET}.items()))
    return urlencode({"sign": hashlib.sha1(text.encode()).hexdigest(), **fields}).encode()


@pytest.fixture
def notifying() -> Notifies:
    provider = load_provider(account("guanaitong"))
    assert isinstance(provider, Notifies)
    return provider


class TestNotifications:
    def test_a_success_is_a_success_with_the_providers_number(self, notifying: Notifies) -> None:
        note = notifying.open_notification(f"{FORM}; charset=UTF-8", notified())
        assert (note.refund_no, note.stale) == (REFUND.refund_no, False)
        outcome = notifying.read_notification(REFUND, note)
        assert outcome.verdict is Verdict.SUCCEEDED
        assert outcome.provider_refund_no == "2018070920000005"

    def test_it_is_answered_in_the_pages_words(self, notifying: Notifies) -> None:
        assert (notifying.taken.body, notifying.taken.status) == (b"success", 200)
        assert (notifying.declined.body, notifying.declined.status) == (b"fail", 400)

    @pytest.mark.parametrize("change", [{"more": "“&=”"}, {"more": ""}, {"trade_no": "A+B C%"}])
    def test_the_values_are_signed_as_they_came(
        self, notifying: Notifies, change: dict[str, str]
    ) -> None:
        note = notifying.open_notification(FORM, notified(**change))
        assert note.fields.items() >= change.items()

    @pytest.mark.parametrize(
        ("off_s", "stale"), [(0, False), (300, False), (-300, False), (301, True), (-301, True)]
    )
    def test_a_time_more_than_five_minutes_off_makes_it_stale(
        self, notifying: Notifies, off_s: int, stale: bool
    ) -> None:
        body = notified(timestamp=str(int(NOW.timestamp()) + off_s))
        assert notifying.open_notification(FORM, body).stale is stale

    @pytest.mark.parametrize(
        "body",
        [
            notified().replace(b"10.0", b"10.1"),
            notified(sign="0" * 40),
            notified() + b"&refund_amount=10.0",
            notified() + b"&more=1",
            notified() + b"&",
            notified() + b"&\xff=1",
            notified(appid="10000002"),
            notified(appid=None),
            notified(refund_amount=None),
            notified(outer_refund_no=""),
            notified(trade_no=None),
            notified(timestamp=None),
            notified(timestamp="now"),
            notified(timestamp="-1"),
            b"",
            b"{}",
        ],
        ids=range(16),
    )
    def test_what_is_forged_unreadable_or_anothers_is_refused(
        self, notifying: Notifies, body: bytes
    ) -> None:
        with pytest.raises(NoAnswer) as raised:
            notifying.open_notification(FORM, body)
        assert GAT_SECRET not in str(raised.value)

    def test_another_content_type_is_refused(self, notifying: Notifies) -> None:
        with pytest.raises(NoAnswer, match="not a form"):
            notifying.open_notification("application/json", notified())

    @pytest.mark.parametrize(
        "change",
        [
            {"outer_trade_no": f"{APPID}102"},
            {"outer_refund_no": f"{APPID}202"},
            {"refund_amount": "10.01"},
            {"refund_amount": "-10.0"},
            {"refund_amount": "1e1"},
            {"refund_amount": "0.10"},
        ],
    )
    def test_one_about_another_refund_or_amount_shows_nothing(
        self, notifying: Notifies, change: dict[str, str]
    ) -> None:
        note = notifying.open_notification(FORM, notified(**change))
        with pytest.raises(NoAnswer):
            notifying.read_notification(REFUND, note)
