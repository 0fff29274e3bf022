"""What every attempt sent and got back is kept, masked, and never changes; so is what decided."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from refundry import TASK_REQUEST, State
from tests.integration.builders import MINUTE, Shop
from tests.integration.command_line import installed, invoke
from tests.integration.conftest import MakeShop
from tests.integration.test_commands import ACCOUNTS, JOB
from tests.integration.test_redaction import PROVIDERS, everything, failing, shop_of
from tests.integration.test_redaction import log as log
from tests.providers.harness import KEY
from tests.simulator.harness import GAT_SECRET, Sim
from worker.errors import NotSent
from worker.ledger.engine import Ledger
from worker.ledger.journal import open_case
from worker.refund import Case, Exchange, Outcome, Verdict
from worker.runtime import suspended_clock
from worker.steps.intake import take_job
from worker.steps.poll import poll
from worker.steps.settle import settle
from worker.steps.submit import claim_next, submit

PERSON = "PLANTED-RECIPIENT"


def exchanges(shop: Shop) -> list[Any]:
    return shop.rows("SELECT status, request, answer FROM attempts ORDER BY refund_id, number")


def decisive(shop: Shop) -> list[Any]:
    """What the events of the questions keep."""
    with shop.runtime.ledger.read() as connection:
        found = connection.exec_driver_sql("SELECT kind, detail FROM events ORDER BY seq").all()
    return [(kind, str(detail)) for kind, detail in found if "exchange" in str(detail)]


@PROVIDERS
def test_attempts_and_questions_keep_what_was_sent_and_came_back_without_a_secret(
    name: str, ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str, log: Any
) -> None:
    shop = shop_of(name, ledger, make_shop, sim, number)
    refund_no = shop.usual["refund_no"]
    if name == "guanaitong":
        shop.usual["extra"] = {"recipientName": PERSON, "recipientPhone": "13800138000"}
    sim.plan(name, refund_no, submit=["timeout_after"], settle_s=0)
    submit(shop.runtime, shop.accept().order_id)
    ((status, request, answer),) = exchanges(shop)
    assert (status, answer) == ("unknown", None)
    assert request.startswith(f"POST {sim.url}/")
    assert refund_no in request
    shop.wait(10 * MINUTE)
    poll(shop.runtime)
    ((kind, asked),) = decisive(shop)
    assert (kind, shop.state(refund_no)) == ("succeeded", State.SUCCEEDED)
    assert "HTTP 200" in asked
    kept, line = f"{request}{asked}", shop.runtime.lines["shop"]
    token = "no token"
    if line.tokened is not None:
        token = shop.runtime.tokens.get(line.account, line.tokened, line.wire)
    for secret in (KEY, GAT_SECRET, token, PERSON, "13800138000"):
        assert secret not in kept
    for secret in (KEY, GAT_SECRET, token):
        assert secret not in everything(shop, log)


@pytest.mark.parametrize("fault", ["garbage", "http_500_before", "bad_signature"])
def test_an_answer_that_nobody_can_trust_is_kept_all_the_same(
    fault: str, ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = shop_of("hkrt", ledger, make_shop, sim, number)
    sim.plan("hkrt", number, submit=[fault])
    submit(shop.runtime, shop.accept().order_id)
    ((status, request, answer),) = exchanges(shop)
    assert (status, number in request) == ("unknown", True)
    assert answer.startswith("HTTP 500" if fault == "http_500_before" else "HTTP 200")


def test_what_was_never_sent_has_nothing_to_keep(shop: Shop) -> None:
    submit(shop.runtime, shop.accept().order_id)
    assert exchanges(shop) == [("never_sent", None, None)]


def test_an_answer_that_comes_when_all_is_known_is_kept_with_its_attempt(shop: Shop) -> None:
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    shop.settle(intent, Verdict.SUCCEEDED)
    said = Exchange(request="POST /refund\n{}", answer="HTTP 200\n{}")
    settle(shop.runtime, intent, Outcome(verdict=Verdict.SUCCEEDED, exchange=said))
    assert exchanges(shop) == [("succeeded", said.request, said.answer)]


@pytest.mark.parametrize("column", ["request", "answer"])
@pytest.mark.parametrize("value", ["NULL", "'other'"])
def test_what_was_exchanged_never_changes(column: str, value: str, shop: Shop) -> None:
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    said = Exchange(request="POST /refund\n{}", answer="HTTP 200\n{}")
    settle(shop.runtime, intent, Outcome(verdict=Verdict.UNKNOWN, exchange=said))
    with pytest.raises(DBAPIError, match="is kept as it was"):
        shop.execute(f"UPDATE attempts SET {column} = {value}")
    shop.execute("UPDATE attempts SET request = request, code = 'x'")
    assert exchanges(shop) == [("unknown", said.request, said.answer)]


def test_what_cannot_be_kept_costs_no_outcome(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.steps.exchange.kept_call", failing)
    shop = shop_of("hkrt", ledger, make_shop, sim, number)
    submit(shop.runtime, shop.accept().order_id)
    assert (shop.state(number), exchanges(shop)) == (State.SUCCEEDED, [("succeeded", None, None)])


def test_what_was_exchanged_is_shown_whole_by_command_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = installed(tmp_path, monkeypatch, ACCOUNTS)
    accepted = take_job(runtime, TASK_REQUEST, JOB)
    assert accepted is not None
    intent = claim_next(runtime, accepted.order_id, suspended_clock())
    assert intent is not None
    answer = f'HTTP 200\n{{"msg":"{"x" * 300}"}}'
    said = Exchange(request="POST /refund\n{}", answer=answer)
    settle(runtime, intent, Outcome(verdict=Verdict.UNKNOWN, exchange=said))
    with runtime.ledger.write() as connection:
        open_case(connection, accepted.refund_id, Case.AGED, {}, runtime.ledger.now(connection))
    for command in (("status", "R1"), ("case", "show", "1")):
        shown = invoke(*command, "--language=en").stdout
        assert f"Came back: {answer}\n" in shown
        assert "Sent: POST /refund\n{}\n" in shown
        attempts = json.loads(invoke(*command, "--json").stdout)["attempts"]
        assert [row["answer"] for row in attempts] == [answer]
    page = tmp_path / "page.html"
    invoke("status", "R1", f"--export={page}")
    assert html.escape(answer) in page.read_text(encoding="utf-8")


def test_what_was_answered_was_sent_whatever_a_providers_code_says(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> Outcome:
        raise NotSent("a fault of the module")

    shop = shop_of("hkrt", ledger, make_shop, sim, number)
    monkeypatch.setattr(shop.runtime.lines["shop"].provider, "read_submission", read)
    submit(shop.runtime, shop.accept().order_id)
    ((status, _, answer),) = exchanges(shop)
    assert (shop.state(number), status) == (State.UNKNOWN, "unknown")
    assert answer.startswith("HTTP 200")
