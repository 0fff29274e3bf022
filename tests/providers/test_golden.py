"""What each provider sends to the byte, and what every answer on file shows."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest

from tests.providers.harness import (
    FILES,
    OK,
    RawServer,
    account,
    call_to,
    facts,
    once,
    read_both,
    wire_to,
)
from tests.simulator.harness import ROOT
from worker.errors import NoAnswer
from worker.providers.base import Balances, Notifies, Provider, Tokened, load_provider
from worker.providers.http import Answer, Call
from worker.refund import Outcome

NAMES = list(FILES)
BASE = "https://pay.example/root"
#: The access token of the calls that carry one.
TOKEN = "b983eef183a789a693b91406f38b7e23"


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some providers' calls are stamped with their time."""
    stamped = datetime(2026, 1, 31, 4, 0, tzinfo=UTC)
    for name in NAMES:
        module = import_module(f"worker.providers.{name}")
        if hasattr(module, "now"):
            monkeypatch.setattr(module, "now", lambda: stamped)


def cases(part: str) -> list[Any]:
    """Every case of a part of the files, named after its provider and itself."""
    found = []
    for name in NAMES:
        for case in FILES[name].get(part, []):
            found.append(pytest.param(name, case, id=f"{name}: {case['case']}"))
    return found


def provider_of(name: str, case: dict[str, Any], base_url: str = BASE) -> Provider:
    return load_provider(account(name, base_url, **case.get("account", {})))


def call_of(provider: Provider, case: dict[str, Any]) -> Call:
    """The call of a case, as it is sent."""
    if case["to"] == "token_call":
        assert isinstance(provider, Tokened)
        return provider.token_call()
    call: Call = getattr(provider, case["to"])(facts(**case.get("facts", {})))
    return provider.with_token(call, TOKEN) if isinstance(provider, Tokened) else call


def shown_by(provider: Provider, case: dict[str, Any], answer: Answer) -> list[Outcome | None]:
    """What an answer shows as the case has it: to a submission, to a question, or to both."""
    both = read_both(provider, facts(**case.get("facts", {})), answer)
    return {"submission": both[:1], "reply": both[1:]}.get(case.get("to", ""), both)


def test_every_provider_has_its_golden_bytes() -> None:
    modules = (ROOT / "worker/providers").glob("*.py")
    assert sorted(p.stem for p in modules if "\ndef provider(" in p.read_text("utf-8")) == NAMES


class TestCalls:
    @pytest.mark.parametrize(("name", "case"), cases("calls"))
    def test_a_call_has_exactly_these_bytes(self, name: str, case: dict[str, Any]) -> None:
        provider = provider_of(name, case)
        for _ in range(2):  # a number sent again carries the same content
            call = call_of(provider, case)
            assert call.body.decode("utf-8") == case["body"]
            assert call.url == BASE + case["url"]
            assert call.headers == case["headers"]

    @pytest.mark.parametrize(("name", "case"), cases("calls"))
    def test_a_call_goes_over_the_wire_byte_for_byte(self, name: str, case: dict[str, Any]) -> None:
        with RawServer(once(OK)) as server, wire_to(server.url) as wire:
            provider = provider_of(name, case, server.url)
            wire.post(call_of(provider, case))
            head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert body.decode("utf-8") == case["body"]
        assert head.startswith(f"POST {case['url'] or '/'} HTTP/1.1\r\n".encode())
        for header, value in case["headers"].items():
            assert f"\r\n{header}: {value}".encode() in head


class TestAnswers:
    @pytest.mark.parametrize(("name", "case"), cases("answers"))
    def test_an_answer_shows_what_the_page_says(self, name: str, case: dict[str, Any]) -> None:
        answer = Answer(status=200, body=case["body"].encode())
        for outcome in shown_by(provider_of(name, case), case, answer):
            shown = {
                "verdict": outcome.verdict.value if outcome else "no answer",
                "code": outcome and outcome.code,
                "message": outcome and outcome.message,
                "number": outcome and outcome.provider_refund_no,
            }
            expected = {key: case[key] for key in shown if key in case}
            assert {key: shown[key] for key in expected} == expected

    @pytest.mark.parametrize("name", NAMES)
    def test_a_right_answer_cut_anywhere_is_no_answer(self, name: str) -> None:
        case = right_answer(name)
        provider, body = provider_of(name, case), case["body"].encode()
        assert all(shown_by(provider, case, Answer(status=200, body=body)))
        for length in range(len(body)):
            assert not any(shown_by(provider, case, Answer(status=200, body=body[:length])))

    @pytest.mark.parametrize("name", NAMES)
    def test_a_right_answer_cut_anywhere_on_the_wire_is_no_answer(self, name: str) -> None:
        case = right_answer(name)
        provider, body = provider_of(name, case), case["body"].encode()
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        said = [whole]
        with RawServer(lambda peer: once(said[0])(peer)) as server, wire_to(server.url) as wire:
            assert all(shown_by(provider, case, wire.post(call_to(server.url))))
            for length in range(0, len(whole), 3):
                said[0] = whole[:length]
                with suppress(NoAnswer):
                    answer = wire.post(call_to(server.url))
                    assert not any(shown_by(provider, case, answer))


class TestNotifications:
    @pytest.mark.parametrize(("name", "case"), cases("notifications"))
    def test_a_notification_shows_what_the_page_says(self, name: str, case: dict[str, Any]) -> None:
        shown = told(provider_of(name, case), case)
        expected = {key: case[key] for key in shown if key in case}
        assert expected
        assert {key: shown[key] for key in expected} == expected

    @pytest.mark.parametrize("name", NAMES)
    def test_a_provider_that_notifies_has_its_golden_bytes(self, name: str) -> None:
        owners = {param.values[0] for param in cases("notifications")}
        assert (name in owners) == isinstance(provider_of(name, {}), Notifies)


class TestBalances:
    @pytest.mark.parametrize(("name", "case"), cases("balances"))
    def test_an_answer_has_the_orders_figures_or_is_none(
        self, name: str, case: dict[str, Any]
    ) -> None:
        provider = provider_of(name, case)
        assert figures(provider, case, case["body"].encode()) == case["figures"]

    @pytest.mark.parametrize("name", NAMES)
    def test_a_provider_that_balances_has_its_golden_bytes(self, name: str) -> None:
        balances = isinstance(provider_of(name, {}), Balances)
        assert (name in {param.values[0] for param in cases("balances")}) == balances
        asked = {param.values[0] for param in cases("calls") if "balance" in str(param.values[1])}
        assert (name in asked) == balances

    @pytest.mark.parametrize(("name", "case"), cases("balances")[:1])
    def test_figures_cut_anywhere_are_none(self, name: str, case: dict[str, Any]) -> None:
        provider, body = provider_of(name, case), case["body"].encode()
        assert figures(provider, case, body)
        assert not any(figures(provider, case, body[:length]) for length in range(len(body)))


def figures(provider: Provider, case: dict[str, Any], body: bytes) -> list[int | None] | None:
    """What an answer shows of the order; None where it is no answer."""
    assert isinstance(provider, Balances)
    try:
        found = provider.read_balance(facts(**case.get("facts", {})), Answer(status=200, body=body))
    except NoAnswer:
        return None
    return [found.refunded, found.left]


def told(provider: Provider, case: dict[str, Any]) -> dict[str, Any]:
    """What a message shows of the refund, or why it is not taken."""
    assert isinstance(provider, Notifies)
    refund = facts(**case.get("facts", {}))
    try:
        message = provider.open_notification(case["content_type"], case["body"].encode())
    except NoAnswer as error:
        return {"refused": error.code}
    assert message.refund_no == refund.refund_no
    try:
        outcome = provider.read_notification(refund, message)
    except NoAnswer:
        return {"verdict": "contradicts"}
    figures = outcome.figures
    return {
        "verdict": outcome.verdict.value,
        "code": outcome.code,
        "message": outcome.message,
        "number": outcome.provider_refund_no,
        "figures": [figures.refunded, figures.left] if figures else None,
        "stale": message.stale,
    }


def right_answer(name: str) -> dict[str, Any]:
    """The page's own example of a success."""
    answers = [param.values for param in cases("answers")]
    return next(
        case
        for owner, case in answers
        if owner == name and case["case"] == FILES[name]["subject"]["right"]
    )
