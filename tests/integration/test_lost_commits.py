"""A ledger that loses commits under living workers: their answers are no other attempt's."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog
from sqlalchemy import Connection, text

from refundry import State
from tests.integration.builders import MINUTE, Shop
from tests.integration.conftest import MakeShop
from tests.simulator.harness import Sim
from worker.ledger.engine import Ledger
from worker.ledger.refunds import order_and_refund
from worker.ledger.tables import metadata
from worker.refund import Outcome, Verdict
from worker.steps.intent import Intent
from worker.steps.poll import Claimed, apply, poll
from worker.steps.settle import settle
from worker.steps.submit import call_provider, submit
from worker.steps.sweep import sweep

Rows = dict[str, list[dict[str, Any]]]
SUCCEEDED = Outcome(verdict=Verdict.SUCCEEDED)
#: The next row's id follows the last one's, as it did then.
FOLLOW = (
    "SELECT setval(pg_get_serial_sequence('{0}', 'id'), "
    "(SELECT coalesce(max(id), 0) + 1 FROM {0}), false)"
)


class Losing:
    """A shop at a provider of its own, whose ledger can be made an older one."""

    def __init__(self, shop: Shop, sim: Sim, number: str) -> None:
        self.shop, self.sim, self.runtime, self.number = shop, sim, shop.runtime, number

    def accept(self, name: str = "a") -> int:
        """A refund on an order of its own; the order's id."""
        number = self.number + name
        return self.shop.accept(order_no=f"O{number}", refund_no=number).order_id

    def claim(self, order_id: int) -> Intent:
        intent = self.shop.claim(order_id)
        assert intent is not None
        return intent

    def keep(self) -> Callable[[], None]:
        """Remember all rows; what is returned loses every commit since."""
        with self.runtime.ledger.read() as connection:
            rows: Rows = {
                table.name: [dict(row._mapping) for row in connection.execute(table.select())]
                for table in metadata.sorted_tables
            }
        return lambda: self._put_back(rows)

    def _put_back(self, rows: Rows) -> None:
        with self.runtime.ledger.write() as connection:
            postgres = connection.dialect.name == "postgresql"
            guards = [] if postgres else take_guards(connection)
            if postgres:
                connection.execute(text("SET LOCAL session_replication_role = replica"))
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
            for table in metadata.sorted_tables:
                if rows[table.name]:
                    connection.execute(table.insert(), rows[table.name])
                if postgres and table.name in ("orders", "refunds"):
                    connection.execute(text(FOLLOW.format(table.name)))
            for guard in guards:
                connection.execute(text(guard))

    def reason(self) -> str | None:
        found: str | None = self.shop.value("SELECT query_first_reason FROM accounts")
        return found

    def since(self) -> Any:
        return self.shop.value("SELECT query_first_since FROM accounts")

    def state(self, name: str = "a") -> State:
        return self.shop.state(self.number + name)

    def executions(self, name: str = "a") -> int:
        return len(self.sim.log(event="EXECUTED", refund=self.number + name))

    def submits(self, name: str = "a") -> int:
        return len(self.sim.log(event="submit_in", refund=self.number + name))

    def let_time_pass(self, order_id: int, rounds: int = 4) -> None:
        """Everything is swept, asked and sent that is due, again and again."""
        for _ in range(rounds):
            self.shop.wait(10 * MINUTE)
            sweep(self.runtime)
            poll(self.runtime)
            submit(self.runtime, order_id)


def take_guards(connection: Connection) -> list[str]:
    """Drop SQLite's triggers; what makes them again."""
    made = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    guards = list(made)
    for guard in guards:
        connection.execute(text(f"DROP TRIGGER {guard.name}"))
    return [guard.sql.replace(":", "\\:") for guard in guards]


@pytest.fixture
def losing(ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str) -> Losing:
    return Losing(make_shop(ledger, sim.url), sim, number)


def test_an_answer_whose_attempt_is_lost_has_the_merchant_ask_first(losing: Losing) -> None:
    order_id = losing.accept()
    lose = losing.keep()
    intent = losing.claim(order_id)
    outcome = call_provider(losing.runtime, intent)
    lose()
    with structlog.testing.capture_logs() as logs:
        assert not settle(losing.runtime, intent, outcome)
    assert ("ledger.lost_commits", "error") in [(line["event"], line["log_level"]) for line in logs]
    assert f"attempt 1 of refund {losing.number}a" in (losing.reason() or "")
    assert losing.state() is State.QUEUED
    assert not submit(losing.runtime, order_id)
    assert poll(losing.runtime).asked == 1  # at once
    assert losing.state() is State.SUCCEEDED
    losing.let_time_pass(order_id)
    assert (losing.submits(), losing.executions()) == (1, 1)
    assert losing.shop.audit() == []


def test_an_attempt_that_is_lost_before_it_is_sent_is_not_sent(losing: Losing) -> None:
    order_id = losing.accept()
    lose = losing.keep()
    intent = losing.claim(order_id)
    lose()
    outcome = call_provider(losing.runtime, intent)
    assert outcome.verdict is Verdict.NEVER_SENT
    settle(losing.runtime, intent, outcome)
    assert losing.submits() == 0
    losing.let_time_pass(order_id)
    assert (losing.state(), losing.executions()) == (State.SUCCEEDED, 1)


@pytest.mark.parametrize("verdict", [Verdict.SUCCEEDED, Verdict.REJECTED, Verdict.NEVER_SENT])
def test_an_answer_is_not_that_of_another_attempt_of_its_number(
    losing: Losing, verdict: Verdict
) -> None:
    order_id = losing.accept()
    lose = losing.keep()
    old = losing.claim(order_id)
    lose()
    losing.shop.wait(MINUTE)
    new = losing.claim(order_id)
    assert (old.refund.id, old.number) == (new.refund.id, new.number)
    assert call_provider(losing.runtime, old).verdict is Verdict.NEVER_SENT
    assert losing.submits() == 0
    settle(losing.runtime, old, Outcome(verdict=verdict))
    assert losing.state() is State.SUBMITTING
    assert losing.shop.value("SELECT status FROM attempts") == "started"
    assert losing.reason(), "the merchant does not ask first"
    assert call_provider(losing.runtime, new).verdict is Verdict.NEVER_SENT  # it asks first now
    settle(losing.runtime, new, Outcome(verdict=Verdict.NEVER_SENT))
    losing.let_time_pass(order_id)
    assert (losing.state(), losing.executions()) == (State.SUCCEEDED, 1)


def test_a_refund_that_is_lost_is_asked_about_first_when_its_job_comes_again(
    losing: Losing,
) -> None:
    lose = losing.keep()
    order_id = losing.accept()
    intent = losing.claim(order_id)
    outcome = call_provider(losing.runtime, intent)
    lose()
    assert not settle(losing.runtime, intent, outcome)
    assert not submit(losing.runtime, order_id)
    assert losing.reason(), "the merchant does not ask first"
    order_id = losing.accept()
    submit(losing.runtime, order_id)
    losing.let_time_pass(order_id)
    assert losing.state() is State.SUCCEEDED
    assert (losing.submits(), losing.executions()) == (1, 1)


@pytest.mark.parametrize("again", [False, True])
def test_a_reply_about_a_refund_that_is_lost_is_not_another_ones(
    losing: Losing, again: bool
) -> None:
    lose = losing.keep()
    losing.accept()
    with losing.runtime.ledger.read() as connection:
        order, refund = order_and_refund(connection, 1)
    claimed = Claimed(
        order=order, refund=refund, line=losing.runtime.lines["shop"], after_grace=True
    )
    lose()
    if again:
        losing.accept("b")
        assert losing.shop.value("SELECT id FROM refunds") == refund.id
    assert not apply(losing.runtime, claimed, SUCCEEDED)
    assert f"the acceptance of refund {losing.number}a" in (losing.reason() or "")
    assert not again or losing.state("b") is State.QUEUED


def test_a_loss_that_many_notice_begins_once(losing: Losing) -> None:
    orders = [losing.accept("a"), losing.accept("b")]
    lose = losing.keep()
    first, second = map(losing.claim, orders)
    lose()
    settle(losing.runtime, first, SUCCEEDED)
    since = losing.since()
    assert since is not None, "the merchant does not ask first"
    losing.shop.wait(MINUTE)
    settle(losing.runtime, second, SUCCEEDED)
    assert losing.since() == since
    losing.shop.execute("UPDATE accounts SET query_first_since = NULL")
    settle(losing.runtime, second, SUCCEEDED)
    assert losing.since() != since
