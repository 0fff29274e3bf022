"""Notifications: what is not signed is not believed, byte for byte; what an account may set."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import ConfigError
from tests.providers.harness import account, examples, facts, hkrt_signed, read_both
from tests.providers.test_golden import cases, provider_of
from worker.errors import NoAnswer
from worker.providers.base import Notification, Notifies, Provider, load_provider
from worker.providers.http import Answer
from worker.refund import Figures, Verdict

#: The first notification on file of each provider says that the refund was executed.
EXECUTED = {param.values[0]: param.values[1] for param in reversed(cases("notifications"))}
NOTIFYING = sorted(EXECUTED)
#: Made once: a provider's keys take long to read.
PROVIDERS = {name: provider_of(name, case) for name, case in EXECUTED.items()}


def opened(provider: Provider, content_type: str, body: bytes) -> Notification | None:
    """What a message says; None where it is not taken. Nothing else may come out."""
    assert isinstance(provider, Notifies)
    try:
        return provider.open_notification(content_type, body)
    except NoAnswer:
        return None


@pytest.mark.parametrize("name", NOTIFYING)
def test_a_right_notification_that_is_cut_anywhere_is_not_taken(name: str) -> None:
    case, provider = EXECUTED[name], PROVIDERS[name]
    body = case["body"].encode()
    whole = opened(provider, case["content_type"], body)
    assert whole is not None
    for length in range(len(body)):
        cut = opened(provider, case["content_type"], body[:length])
        assert cut is None or cut == whole  # what is cut off may be outside of what was signed


@pytest.mark.parametrize("name", NOTIFYING)
@examples(150)
@given(data=st.data())
def test_a_notification_that_was_changed_anywhere_says_the_same_or_is_not_taken(
    name: str, data: st.DataObject
) -> None:
    case, provider = EXECUTED[name], PROVIDERS[name]
    body = bytearray(case["body"].encode())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.integers(0, 255))
    changed = opened(provider, case["content_type"], bytes(body))
    whole = opened(provider, case["content_type"], case["body"].encode())
    assert whole is not None
    assert changed is None or told(provider, changed) == told(provider, whole)


def told(provider: Provider, message: Notification) -> object:
    assert isinstance(provider, Notifies)
    outcome = provider.read_notification(facts(), message)
    return message.refund_no, outcome.verdict, outcome.provider_refund_no


@pytest.mark.parametrize("name", NOTIFYING)
@examples(200)
@given(
    content_type=st.sampled_from(["", "application/json", "application/x-www-form-urlencoded"]),
    body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
)
def test_nothing_that_anybody_can_make_is_taken(name: str, content_type: str, body: bytes) -> None:
    assert opened(PROVIDERS[name], content_type, body) is None


def test_an_account_of_a_provider_that_sends_none_has_no_address_for_them() -> None:
    with pytest.raises(ConfigError, match=r"accounts\.main: quickpay sends no notifications"):
        load_provider(account("quickpay", notify_url="https://shop.example/callbacks/main"))


def test_the_acknowledgement_is_a_setting_where_nothing_public_says_it() -> None:
    usual, own = (
        load_provider(account("hkrt")),
        load_provider(account("hkrt", acknowledgement="ok")),
    )
    assert isinstance(usual, Notifies)
    assert isinstance(own, Notifies)
    assert usual.taken.body == b'{"return_code":"SUCCESS"}'
    assert own.taken.body == b"ok"
    with pytest.raises(ConfigError, match="acknowledgement"):
        load_provider(account("hkrt", acknowledgement=""))


@pytest.mark.parametrize("name", NOTIFYING)
def test_what_is_declined_is_never_answered_as_if_it_were_taken(name: str) -> None:
    provider = load_provider(account(name))
    assert isinstance(provider, Notifies)
    assert provider.declined.body != provider.taken.body
    assert provider.declined.status != 200


@pytest.mark.parametrize(
    ("said", "figures"),
    [
        ({"refunded_amount": "1.00", "remanent_amount": "0"}, Figures(refunded=100, left=0)),
        ({"refunded_amount": "1.00"}, Figures(refunded=100)),
        ({"refunded_amount": "1.005", "remanent_amount": "x"}, None),
        ({"refunded_amount": None, "remanent_amount": []}, None),
        ({}, None),
    ],
)
def test_hkrts_figures_are_kept_and_an_answer_without_them_is_as_good(
    said: dict[str, Any], figures: Figures | None
) -> None:
    fields = {"return_code": 10000, "refund_status": 1, "out_refund_no": "REFUND0001"}
    body = hkrt_signed(json.dumps(fields | {"refund_amount": "0.50"} | said))
    answer = Answer(status=200, body=body)
    for outcome in read_both(load_provider(account("hkrt")), facts(), answer):
        assert outcome is not None
        assert (outcome.verdict, outcome.figures) == (Verdict.SUCCEEDED, figures)
