"""What is signed escapes nothing: whoever saw a message must not send another under its sign."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.providers.harness import KEY, account, examples, facts
from tests.providers.test_guanaitong import FORM, NOW, notified, requested
from tests.simulator.harness import APPID, GAT_SECRET
from worker.errors import Forged, NoAnswer
from worker.providers import guanaitong
from worker.providers.base import Notification, Notifies, load_provider
from worker.providers.http import Answer, form_fields
from worker.providers.signatures import joined, md5_sign, sha1_sign

SIGN_KEY = "a-key-by-agreement"


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guanaitong, "now", lambda: NOW)


def notifying(name: str) -> Notifies:
    provider = load_provider(account(name))
    assert isinstance(provider, Notifies)
    return provider


def hkrt_body(fields: dict[str, Any], sign: str) -> bytes:
    return json.dumps({**fields, "sign": sign}).encode()


class TestGuanaitong:
    def test_a_number_that_hides_others_gives_no_second_notification(self) -> None:
        seen = form_fields(notified(outer_refund_no=f"{APPID}1&outer_trade_no={APPID}2&p"))
        other = {name: seen[name] for name in ("appid", "refund_amount", "timestamp", "trade_no")}
        other |= {"outer_refund_no": f"{APPID}1", "outer_trade_no": f"{APPID}2"}
        other |= {"p&outer_trade_no": seen["outer_trade_no"], "sign": seen["sign"]}
        assert sha1_sign(other, GAT_SECRET) == seen["sign"]
        for fields in (seen, other):
            with pytest.raises(Forged, match="more than one way"):
                notifying("guanaitong").open_notification(FORM, urlencode(fields).encode())

    @examples(150)
    @given(st.data())
    def test_no_other_cut_of_what_was_signed_shows_something_else(
        self, data: st.DataObject
    ) -> None:
        memo = data.draw(st.text("&=12", max_size=6) | st.just("x&refund_amount=99&z=1"))
        seen = form_fields(notified(memo=memo))
        sign = seen.pop("sign")
        pieces = "&".join(f"{name}={seen[name]}" for name in sorted(seen)).split("&")
        ends = data.draw(st.lists(st.integers(1, len(pieces)), min_size=1, unique=True))
        cuts = sorted({0, *ends, len(pieces)})
        parts = ["&".join(pieces[a:b]) for a, b in pairwise(cuts)]
        assume(all("=" in part for part in parts))
        other = {part.partition("=")[0]: part.partition("=")[2] for part in parts}
        assume(sha1_sign(other, GAT_SECRET) == sign)
        try:
            body = urlencode({**other, "sign": sign}).encode()
            note = notifying("guanaitong").open_notification(FORM, body)
        except NoAnswer:
            return
        assert note.refund_no == seen["outer_refund_no"]
        assert note.fields["refund_amount"] == seen["refund_amount"]

    def test_the_hash_cannot_be_lengthened_for_its_padding_is_no_text(self) -> None:
        body = notified() + b"%80%00%00%00&trade_no2=1"
        with pytest.raises(NoAnswer, match="not a form"):
            notifying("guanaitong").open_notification(FORM, body)

    @pytest.mark.parametrize("name", ["order_no", "refund_no"])
    @pytest.mark.parametrize("sign", ["&", "="])
    def test_no_number_is_taken_that_could_hide_others(self, name: str, sign: str) -> None:
        request = requested(**{name: f"{APPID}1{sign}1"})
        problems = load_provider(account("guanaitong")).check(request)
        assert any("holds & or =" in said for said in problems)


class TestHkrt:
    def test_our_own_request_sent_back_is_no_notification(self) -> None:
        order_no = "X&refund_amount=0.50&trade_status=1&u=a=1"
        call = load_provider(account("hkrt")).submission(facts(order_no=order_no))
        seen = json.loads(call.body)
        other = seen | {"out_trade_no": "X", "trade_status": "1"}
        other["u"] = {"a": "1", "refund_amount": "0.50"}
        assert md5_sign(other, KEY) == seen["sign"]
        with pytest.raises(Forged, match="more than one way"):
            notifying("hkrt").open_notification("", json.dumps(other).encode())

    def test_no_order_number_is_taken_that_could_hide_others(self) -> None:
        request = requested(order_no="O1&a")
        problems = load_provider(account("hkrt")).check(request)
        assert any("holds & or =" in said for said in problems)

    @pytest.mark.parametrize(
        "more",
        [
            {"u": "1&trade_status=1"},
            {"u": {"trade_status": "1"}},
            {"u&trade_status": "1"},
            {"attach": {"trade_status": "2"}},
            {"attach": "1&trade_status=2"},
            {"out_trade_no": ["OTHER"]},
        ],
    )
    def test_what_decides_stands_in_one_place(self, more: dict[str, Any]) -> None:
        fields = {"out_refund_no": "REFUND0001", "refund_amount": "0.50", "trade_status": "2"}
        fields |= more
        with pytest.raises(Forged, match="more than one way"):
            notifying("hkrt").open_notification("", hkrt_body(fields, md5_sign(fields, KEY)))

    def test_the_channels_own_parameters_may_name_the_refund_too(self) -> None:
        attach = {"out_refund_no": "REFUND0001", "refund_detail": [{"refund_amount": "100"}]}
        fields = {"out_refund_no": "REFUND0001", "refund_amount": "0.50", "trade_status": "1"}
        fields |= {"attach": attach, "remark": "a & b = c"}  # type: ignore[dict-item]
        sign = md5_sign(fields, KEY)
        note: Notification = notifying("hkrt").open_notification("", hkrt_body(fields, sign))
        assert note.refund_no == "REFUND0001"


class TestQuickPay:
    def test_an_answer_that_names_a_verdict_twice_is_none(self) -> None:
        provider = load_provider(account("quickpay", signing="md5", sign_key=SIGN_KEY))
        data = {"order_no": "ORDER0001", "refund_order_no": "REFUND0001", "refund_amount": "50"}
        fields = {"code": "SUCCESS", "data": {**data, "transaction_status": "CREATE"}}
        fields |= {"msg": "x&transaction_status=REFUNDED"}
        body = hkrt_body(fields, md5_sign(fields, SIGN_KEY))
        assert "transaction_status=CREATE" in joined(fields)
        with pytest.raises(NoAnswer, match="more than one way"):
            provider.read_reply(facts(), Answer(status=200, body=body))
