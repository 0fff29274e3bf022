"""The audit says nothing about an honest ledger and names every row that was tampered with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from refundry import State
from tests.integration.builders import MINUTE, NOWHERE, SOMEBODY, Shop, findings, open_shop
from tests.integration.conftest import MakeShop
from tests.simulator.harness import Sim
from worker.ledger.engine import Ledger
from worker.ledger.tables import events
from worker.refund import Verdict
from worker.steps.command import pause
from worker.steps.poll import poll
from worker.steps.submit import submit

#: What the database's guards are taken away with, before a ledger can be tampered with.
UNGUARD = {
    "sqlite": [
        "DROP TRIGGER events_no_update",
        "DROP TRIGGER events_no_delete",
        "DROP TRIGGER attempts_no_delete",
        *(f"DROP TRIGGER archived_{of}_copies" for of in ("events", "attempts")),
        *(
            f"DROP TRIGGER {of}_no_{action}"
            for of in ("archived_events", "archived_attempts", "archives")
            for action in ("update", "delete")
        ),
        "DROP TRIGGER refunds_legal_transition",
        "DROP TRIGGER refunds_settled_by_two",
        "DROP TRIGGER events_settled_by_two",
        "DROP TRIGGER refunds_sent_by_two",
        "DROP TRIGGER approvals_no_update",
        "DROP TRIGGER approvals_no_delete",
        "DROP INDEX uq_refunds_holds_order",
        "DROP INDEX uq_attempts_live",
    ],
    "postgresql": [
        "SET LOCAL session_replication_role = replica",
        "DROP INDEX uq_refunds_holds_order",
        "DROP INDEX uq_attempts_live",
    ],
}
CHECKS = """
SELECT conrelid::regclass::text AS owner, conname FROM pg_constraint
WHERE contype = 'c' AND connamespace = 'public'::regnamespace
"""
#: How a row is tampered with, the promise that is named, and of which order or refund. In O1, R1
#: has succeeded, R2 failed, R3 succeeded in its second attempt, R5 is queued; R4 of O2 is unknown;
#: R6 of O3 is queued. Their ids are their numbers.
TAMPERED = {
    "more was refunded": ("UPDATE orders SET refunded = 21 WHERE id = 1", "I2", "O1"),
    "less is reserved": ("UPDATE orders SET reserved = 9 WHERE id = 1", "I2", "O1"),
    "too little was paid": ("UPDATE orders SET paid_amount = 20 WHERE id = 1", "I2", "O1"),
    "less was paid": ("UPDATE orders SET paid_amount = 99 WHERE id = 1", "I7", "O1"),
    "the total is another": ("UPDATE orders SET order_amount = 101 WHERE id = 1", "I7", "O1"),
    "the order is another": ("UPDATE orders SET order_no = 'O9' WHERE id = 1", "I7", "O9"),
    "refunded before": ("UPDATE orders SET refunded_before = 1 WHERE id = 1", "I7", "O1"),
    "excess": ("UPDATE orders SET excess = 1 WHERE id = 1", "I2", "O1"),
    "marketing bore something": (
        "UPDATE orders SET marketing_refunded = 1 WHERE id = 1", "I2", "O1",
    ),
    "marketing bears something": (
        "UPDATE orders SET marketing_reserved = 1 WHERE id = 1", "I2", "O1",
    ),
    "another part of marketing": (
        "UPDATE refunds SET marketing_amount = 1 WHERE id = 1", "I7", "R1",
    ),
    "another amount": ("UPDATE refunds SET amount = 11 WHERE id = 1", "I7", "R1"),
    "another number": ("UPDATE refunds SET refund_no = 'R9' WHERE id = 1", "I7", "R9"),
    "another account": ("UPDATE refunds SET account = 'till' WHERE id = 1", "I7", "R1"),
    "another order": (
        "UPDATE refunds SET order_id = (SELECT order_id FROM refunds WHERE id = 4) WHERE id = 1",
        "I2", "O2",
    ),
    "another state": ("UPDATE refunds SET state = 'failed' WHERE id = 1", "I7", "R1"),
    "another event": ("UPDATE refunds SET event_seq = 2 WHERE id = 1", "I7", "R1"),
    "another attempt": ("UPDATE refunds SET attempt = 2 WHERE id = 1", "I7", "R1"),
    "another request": ("UPDATE refunds SET request = '{}' WHERE id = 1", "I10", "R1"),
    "another count of sent attempts": ("UPDATE refunds SET sent = 0 WHERE id = 1", "I7", "R1"),
    "other content": ("UPDATE refunds SET fingerprint = 'x' WHERE id = 1", "I10", "R1"),
    "other content sent": (
        "UPDATE attempts SET fingerprint = 'x' WHERE refund_id = 3 AND number = 2", "I10", "R3",
    ),
    "held by nobody": ("UPDATE refunds SET holds_order = FALSE WHERE id = 4", "I7", "R4"),
    "held by two": ("UPDATE refunds SET holds_order = TRUE WHERE order_id = 1", "I3", "O1"),
    "a lost refund": ("DELETE FROM refunds WHERE id = 1", "I2", "O1"),
    "a lost attempt": ("DELETE FROM attempts WHERE refund_id = 1", "I7", "R1"),
    "two live attempts": ("UPDATE attempts SET status = 'started' WHERE refund_id = 3", "I3", "R3"),
    "executed twice": ("UPDATE attempts SET status = 'succeeded' WHERE refund_id = 3", "I1", "R3"),
    "failed and open": ("UPDATE attempts SET status = 'unknown' WHERE refund_id = 2", "I4", "R2"),
    "a lost event": ("DELETE FROM events WHERE refund_id = 3 AND seq = 2", "I7", "R3"),
    "the last event lost": ("DELETE FROM events WHERE refund_id = 1 AND seq = 3", "I7", "R1"),
    "all events lost": ("DELETE FROM events WHERE refund_id = 1", "I7", "R1"),
    "a doubled event": (
        "INSERT INTO events SELECT refund_id, 4, 'failed', at, kind, attempt, detail FROM events"
        " WHERE refund_id = 1 AND seq = 3", "I7", "R1",
    ),
    "an illegal way": (
        "UPDATE events SET state = 'canceled' WHERE refund_id = 1 AND seq = 2", "I7", "R1",
    ),
    "no evidence": ("UPDATE events SET detail = '{}' WHERE refund_id = 1 AND seq = 3", "I6", "R1"),
    "contested, no case": ("UPDATE refunds SET contested_reserved = 1 WHERE id = 2", "I8", "R2"),
    "never asked about": ("UPDATE refunds SET due_at = NULL WHERE id = 4", "I9", "R4"),
    "never woken": ("UPDATE orders SET wake_at = NULL WHERE order_no = 'O3'", "I9", "O3"),
    "sent out of turn": (
        "UPDATE attempts SET started_at = (SELECT accepted_at FROM refunds WHERE id = 1)"
        " WHERE refund_id = 2", "I10", "O1",
    ),
}  # fmt: skip


def live(shop: Shop, order_no: str, refund_no: str, *verdicts: Verdict) -> None:
    """A refund that is sent as often as it has answers."""
    order_id = shop.accept(order_no=order_no, refund_no=refund_no).order_id
    for verdict in verdicts:
        shop.wait(MINUTE)
        intent = shop.claim(order_id)
        assert intent is not None
        shop.settle(intent, verdict)


@pytest.fixture(scope="module")
def honest(shared_ledger: Ledger, valkey: str) -> Iterator[Shop]:
    """A ledger with refunds in every situation that the tampering needs."""
    accounts = {"shop": {"merchant": "one"}, "till": {"merchant": "one"}}
    with open_shop(shared_ledger, valkey, NOWHERE, accounts) as shop:
        live(shop, "O1", "R1", Verdict.SUCCEEDED)
        live(shop, "O1", "R2", Verdict.REJECTED)
        live(shop, "O1", "R3", Verdict.NEVER_SENT, Verdict.SUCCEEDED)
        live(shop, "O2", "R4", Verdict.UNKNOWN)
        live(shop, "O1", "R5")
        live(shop, "O3", "R6")
        yield shop


@contextmanager
def unguarded(shop: Shop) -> Iterator[Connection]:
    """The ledger in a transaction in which nothing guards it; rolled back in the end."""
    with shop.runtime.ledger.engine.connect() as connection:
        name = connection.dialect.name
        pragmas(connection, foreign_keys="OFF", ignore_check_constraints="ON")
        for statement in UNGUARD[name]:
            connection.execute(text(statement))
        if name == "postgresql":
            for owner, check in connection.execute(text(CHECKS)).all():
                connection.execute(text(f'ALTER TABLE {owner} DROP CONSTRAINT "{check}"'))
        yield connection
        connection.rollback()
        pragmas(connection, foreign_keys="ON", ignore_check_constraints="OFF")


def pragmas(connection: Connection, **values: str) -> None:
    """SQLite takes these only outside a transaction."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        for name, value in values.items():
            driver.execute(f"PRAGMA {name} = {value}")


def test_an_honest_ledger_has_no_finding(honest: Shop) -> None:
    assert honest.audit() == []


@pytest.mark.parametrize("how", TAMPERED)
def test_a_row_that_was_tampered_with_is_named(how: str, honest: Shop) -> None:
    statement, promise, named = TAMPERED[how]
    with unguarded(honest) as connection:
        assert connection.execute(text(statement)).rowcount != 0
        found = findings(connection, honest.clock.now)
    breaches = {(one.promise, one.row.rpartition("/")[2]) for one in found if not one.warning}
    assert (promise, named) in breaches, found
    assert honest.audit() == []


def test_a_backlog_is_a_warning_and_no_breach(shop: Shop) -> None:
    shop.accept()
    intent = shop.claim(shop.accept(order_no="O2", refund_no="R2").order_id)
    assert intent is not None
    shop.settle(intent, Verdict.UNKNOWN)
    shop.wait(60 * MINUTE)
    assert [(one.promise, one.warning) for one in shop.audit()] == [("I10", True)] * 2


def test_what_a_paused_account_does_not_send_is_no_backlog(shop: Shop) -> None:
    shop.accept()
    pause(shop.runtime.ledger, "shop", SOMEBODY)
    shop.wait(60 * MINUTE)
    assert shop.audit() == []


#: What becomes of a refund at the simulator, and the state that it must end in.
FATES: dict[str, tuple[dict[str, Any], State]] = {
    "succeeds": ({}, State.SUCCEEDED),
    "is declined": ({"fate": "decline"}, State.FAILED),
    "is accepted first": ({"fate": "pending:2"}, State.SUCCEEDED),
    "is accepted and declined": ({"fate": "pending_decline:2"}, State.FAILED),
    "is executed and not answered": ({"submit": ["reset_after"]}, State.SUCCEEDED),
    "is lost on its way": ({"submit": ["reset_before"]}, State.SUCCEEDED),
    "is answered with garbage": ({"submit": ["garbage"]}, State.SUCCEEDED),
}


def test_after_days_of_faults_every_refund_is_final_and_the_audit_finds_nothing(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url)
    numbers = [f"{number}x{index}" for index in range(len(FATES))]
    for refund_no, (plan, _) in zip(numbers, FATES.values(), strict=True):
        sim.plan("quickpay", refund_no, **plan)
        shop.accept(order_no=f"O{number}", refund_no=refund_no, announce={"task": "told"})
    (order_id,) = (row.id for row in shop.rows("SELECT id FROM orders"))
    for _ in range(60):
        submit(shop.runtime, order_id)
        assert shop.audit() == []
        shop.wait(6 * MINUTE)
        poll(shop.runtime)
    ends = {how: shop.state(no) for how, no in zip(FATES, numbers, strict=True)}
    assert ends == {how: state for how, (_, state) in FATES.items()}
    executed = [event["refund"] for event in sim.log(event="EXECUTED", order=f"O{number}")]
    assert len(executed) == len(set(executed))
    assert shop.audit() == []


def test_what_moves_while_it_is_looked_at_is_no_breach(shop: Shop) -> None:
    still = [shop.accept().order_id]

    def move(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if still and f"FROM {events.name}" in statement:
            intent = shop.claim(still.pop())
            assert intent is not None
            shop.settle(intent, Verdict.SUCCEEDED)

    event.listen(shop.runtime.ledger.engine, "before_cursor_execute", move)
    try:
        assert shop.audit() == []
    finally:
        event.remove(shop.runtime.ledger.engine, "before_cursor_execute", move)
    assert shop.state() == State.SUCCEEDED
