"""Who paused an account and who let it go on, and why: written down, never changed, always."""

from __future__ import annotations

import getpass
import itertools
from typing import Any

import pytest
from alembic import command
from sqlalchemy.exc import DBAPIError

from tests.integration.builders import MINUTE, NOW, SOMEBODY, Shop, insert, race
from tests.integration.command_line import invoke
from tests.integration.conftest import MakeShop
from tests.integration.test_commands import Run
from tests.integration.test_commands import run as run
from worker.errors import Refused
from worker.ledger.accounts import entries_of_account
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.ledger.migrate import _config, upgrade
from worker.refund import Outcome, Verdict
from worker.steps.command import pause, resume
from worker.steps.people import Person
from worker.steps.settle import settle

WANG = Person(name="wang", reason="mended", login="root")


def entries(shop: Shop, account: str = "shop") -> list[dict[str, Any]]:
    with shop.runtime.ledger.read() as connection:
        return entries_of_account(connection, account, 10)


def told(shop: Shop) -> list[tuple[str, str, str]]:
    return [(one["who"], one["what"], one["reason"]) for one in entries(shop)]


def test_a_pause_and_its_end_keep_who_and_why(shop: Shop) -> None:
    pause(shop.runtime.ledger, "shop", SOMEBODY)
    with pytest.raises(Refused):
        pause(shop.runtime.ledger, "shop", WANG)
    resume(shop.runtime.ledger, "shop", WANG)
    with pytest.raises(Refused):
        resume(shop.runtime.ledger, "shop", SOMEBODY)
    assert told(shop) == [("wang", "resumed", "mended"), ("li", "paused", "test")]
    assert entries(shop)[0]["detail"] == {"login": "root"}
    assert entries(shop)[0]["at"] == shop.clock.now


def test_of_those_who_pause_an_account_at_once_one_has_done_it(shop: Shop) -> None:
    def attempt(number: int) -> bool:
        try:
            pause(shop.runtime.ledger, "shop", Person(name=f"p{number}", reason="test"))
        except Refused:
            return False
        return True

    done = race(attempt)
    assert done.count(True) == 1
    assert told(shop) == [(f"p{done.index(True)}", "paused", "test")]


@pytest.mark.parametrize("verdict", [Verdict.MISCONFIGURED, Verdict.TOKEN])
def test_a_pause_by_itself_says_which_rule_did_it(verdict: Verdict, shop: Shop) -> None:
    order_id = shop.accept().order_id
    tokens = itertools.count()
    while not entries(shop):
        intent = shop.claim(order_id)
        assert intent is not None
        message = f"token {next(tokens)}: no"
        settle(shop.runtime, intent, Outcome(verdict=verdict, code="E1", message=message))
        shop.wait(10 * MINUTE)
    assert told(shop) == [("refundry", "paused", "E1")]
    assert entries(shop)[0]["detail"] == {"rule": verdict.value, "refund_no": "R1"}


def test_a_breaker_that_opens_and_closes_says_so(ledger: Ledger, make_shop: MakeShop) -> None:
    shop = make_shop(ledger, shop={"breaker_failures": 1})
    silence = Outcome(verdict=Verdict.UNKNOWN, code="no_answer", unanswered=True)
    for number, outcome in (("1", silence), ("2", Outcome(verdict=Verdict.SUCCEEDED))):
        order_id = shop.accept(order_no=f"O{number}", refund_no=f"R{number}").order_id
        intent = shop.claim(order_id)
        assert intent is not None
        settle(shop.runtime, intent, outcome)
        shop.wait(10 * MINUTE)
    closed, opened = entries(shop)
    assert (opened["who"], opened["what"]) == ("refundry", "breaker_opened")
    assert opened["reason"] == "1 calls in a row without a trustworthy answer"
    assert (opened["detail"]["refund_no"], closed["detail"]) == ("R1", {"refund_no": "R2"})
    assert closed["what"] == "breaker_closed"


@pytest.mark.parametrize(
    "statement", ["UPDATE account_entries SET who = 'x'", "DELETE FROM account_entries"]
)
def test_a_word_about_an_account_is_never_changed(statement: str, shop: Shop) -> None:
    pause(shop.runtime.ledger, "shop", SOMEBODY)
    with pytest.raises(DBAPIError, match="account_entries are only added"):
        shop.execute(statement)


def test_nobody_pauses_or_resumes_an_account_without_a_word(shop: Shop) -> None:
    at = "(SELECT max(at) FROM account_entries)"
    add = (
        "INSERT INTO account_entries (account, at, who, what, reason, detail) "
        "VALUES ('shop', :now, 'li', :what, '', '{}')"
    )
    silent = "by somebody, for a reason"
    with pytest.raises(DBAPIError, match=silent):
        shop.execute("UPDATE accounts SET paused_at = :now", now=shop.clock.now)
    for wrong, right, value in (("resumed", "paused", at), ("paused", "resumed", "NULL")):
        shop.execute(add, now=shop.clock.now, what=wrong)
        with pytest.raises(DBAPIError, match=silent):
            shop.execute(f"UPDATE accounts SET paused_at = {value}")
        shop.execute(add, now=shop.clock.now, what=right)
        shop.execute(f"UPDATE accounts SET paused_at = {value}")
    for values in ("'', 'paused'", "'li', 'stopped'"):
        with pytest.raises(DBAPIError):
            shop.execute(
                "INSERT INTO account_entries (account, at, who, what, reason, detail) "
                f"VALUES ('shop', :now, {values}, '', '{{}}')",
                now=shop.clock.now,
            )


def test_an_account_is_shown_with_who_did_what_about_it(run: Run) -> None:
    run("pause", "shop", "--reason=month's end", "--by=li")
    run("resume", "shop")
    shown = run("accounts", "shop")[1]
    login = getpass.getuser()
    said = [(one["who"], one["what"], one["reason"]) for one in shown["entries"]]
    assert said == [(login, "resumed", "by an operator"), ("li", "paused", "month's end")]
    assert (shown["account"], shown["paused_by"]) == ("shop", None)
    assert "month's end" in invoke("accounts", "shop").stdout
    with pytest.raises(SystemExit, match="1"):
        run("pause", "shop", "--reason= ")
    assert run("accounts", "nobody")[0] == 1


def test_an_account_that_was_paused_before_this_was_written_down_can_be_resumed(
    database_url: str,
) -> None:
    engine = create_ledger_engine(database_url)
    with Ledger(engine).write() as connection:
        command.upgrade(_config(connection), "0008")
        for name, paused_at in (("shop", NOW), ("bistro", None)):
            insert(
                connection,
                "accounts",
                name=name,
                provider="quickpay",
                merchant=name,
                paused_at=paused_at,
                paused_reason=None,
            )
    upgrade(database_url)
    ledger = Ledger(engine)
    resume(ledger, "shop", WANG)
    with ledger.read() as connection:
        rows = {name: entries_of_account(connection, name, 10) for name in ("shop", "bistro")}
    said = [(one["who"], one["what"]) for one in rows["shop"]]
    assert said == [("wang", "resumed"), ("refundry", "paused")]
    assert (rows["shop"][1]["at"], rows["bistro"]) == (NOW, [])
    engine.dispose()
