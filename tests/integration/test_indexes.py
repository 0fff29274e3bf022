"""The queries of messages and ticks find their rows by an index, however old the ledger."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from tests.integration.builders import NOW, insert, run
from worker.ledger import callbacks, journal, orders, refunds
from worker.ledger.engine import Ledger

#: Orders of the past, each with a refund that is final.
HISTORY = 5000
#: Orders that something is due of, of every kind.
LIVE = 40
BIG = ("refunds", "orders", "attempts", "announcements", "events", "callbacks")
LATER = NOW + timedelta(hours=1)
#: Moves of the live refunds from queued, a sixth of them each.
SUBMITTING = "state = 'submitting', attempt = 1, sent = 1, open_sent = 1, holds_order = TRUE"
MOVES = {
    0: [SUBMITTING],
    1: [SUBMITTING, "state = 'unknown', due_at = :now"],
    2: [SUBMITTING, "state = 'pending', due_at = :now, case_at = :now"],
    3: [SUBMITTING, "state = 'failed', due_at = :now, open_sent = 0, holds_order = FALSE"],
}
#: A row of each table by its number; the values are SQL.
ORDER = {
    "id": "{n}", "merchant": "'M'", "order_no": "'O' || {n}", "currency": "'CNY'",
    "order_amount": "100", "paid_amount": "100", "paid_stated": "TRUE", "refunded_before": "0",
    "before_stated": "TRUE", "reserved": "10", "created_at": ":now", "wake_at": ":now",
}  # fmt: skip
REFUND = {
    "id": "{n}", "order_id": "{n}", "account": "'shop'", "merchant": "'M'",
    "refund_no": "'R' || {n}", "amount": "10", "state": "'queued'", "holds_order": "FALSE",
    "releases": "FALSE", "event_seq": "1", "attempt": "0", "sent": "0", "open_sent": "0",
    "known": "FALSE", "not_found": "0", "fingerprint": "'f'", "request": "'{}'",
    "accepted_at": ":now", "state_at": ":now", "due_at": ":now", "case_at": ":later",
}  # fmt: skip
ATTEMPT = {
    "refund_id": "{n}", "number": "1", "fingerprint": "'f'", "started_at": ":now",
    "lease_until": ":now", "status": f"CASE WHEN {{n}} > {HISTORY} THEN 'started' ELSE 'busy' END",
}  # fmt: skip
ANNOUNCEMENT = {
    "id": "{n}", "refund_id": "{n}", "event": "'accepted'", "target": "'{}'", "payload": "'{}'",
    "created_at": ":now", "due_at": ":now",
}  # fmt: skip
CALLBACK = {
    "id": "{n}", "account": "'shop'", "refund_id": "{n}", "refund_no": "'R' || {n}",
    "digest": "'d' || {n}", "content_type": "''", "body": "''", "verdict": "'rejected'",
    "stale": "FALSE", "first_at": ":now", "last_at": ":now",
}  # fmt: skip
#: The rest of the queries' arguments are these.
QUERIES: dict[str, Callable[[Connection], Any]] = {
    "head_of_order": lambda c: refunds.head_of_order(c, HISTORY + 5, lock=True),
    "head_of_order, unlocked": lambda c: refunds.head_of_order(c, HISTORY + 5, lock=False),
    "find_refund": lambda c: refunds.find_refund(c, "M", "R77"),
    "find_refunds_by_number": lambda c: refunds.find_refunds_by_number(c, "R77"),
    "latest_refund": lambda c: refunds.latest_refund(c, 77),
    "count_refunds_of_order": lambda c: refunds.count_refunds_of_order(c, 77) or True,
    "may_still_send": lambda c: refunds.may_still_send(c, HISTORY + 4, 1, NOW),
    "claim_questions": lambda c: refunds.claim_questions(c, "shop", NOW, LATER, 64),
    "count_questions": lambda c: refunds.count_questions(c, "shop", NOW, 64),
    "accounts_with_questions": lambda c: refunds.accounts_with_questions(c, ["shop"], NOW),
    "attempts_past_lease": lambda c: refunds.attempts_past_lease(c, LATER, 500),
    "claim_aged": lambda c: refunds.claim_aged(c, NOW, 500),
    "claim_orders_to_wake": lambda c: orders.claim_orders_to_wake(c, NOW, LATER, 500),
    "refunds_to_look_at": lambda c: callbacks.refunds_to_look_at(c, "shop", NOW, 500),
    "last_callback": lambda c: callbacks.last_callback(c, 77, "rejected"),
    "callbacks_of": lambda c: callbacks.callbacks_of(c, 77),
    "find_order": lambda c: orders.find_order(c, "M", "O77"),
    "lock_order": lambda c: orders.lock_order(c, 77),
    "wake_if_waiting": lambda c: orders.wake_if_waiting(c, HISTORY + 2, NOW),
    "due_announcements": lambda c: journal.due_announcements(c, NOW, 200, by_url=False),
    "due_announcements, by URL": lambda c: (
        journal.due_announcements(c, NOW, 200, by_url=True, but_not=["https://a"]) or True
    ),
}


@pytest.fixture(scope="module")
def old_ledger(shared_ledger: Ledger) -> Iterator[Connection]:
    """A transaction with years of refunds, and a few that are due; rolled back in the end."""
    with shared_ledger.engine.connect() as connection:
        transaction = connection.begin()
        fill(connection)
        connection.execute(text("ANALYZE"))
        yield connection
        transaction.rollback()


def fill(connection: Connection) -> None:
    """Orders, refunds, attempts and announcements, by a few statements of raw SQL."""
    insert(connection, "accounts", name="shop", provider="quickpay", merchant="M")
    make(connection, "orders", ORDER)
    make(connection, "refunds", REFUND)
    connection.execute(text(f"UPDATE refunds SET {SUBMITTING} WHERE id <= {HISTORY}"))
    final = "state = 'succeeded', holds_order = FALSE, due_at = NULL, case_at = NULL"
    connection.execute(text(f"UPDATE refunds SET {final} WHERE id <= {HISTORY}"))
    for rest, steps in MOVES.items():
        for step in steps:
            sql = f"UPDATE refunds SET {step} WHERE id > {HISTORY} AND id % 6 = {rest}"
            values = {"now": NOW} if ":now" in step else {}
            run(connection, sql, **values)
    make(connection, "attempts", ATTEMPT)
    make(connection, "announcements", ANNOUNCEMENT)
    make(connection, "callbacks", CALLBACK)
    old = f"WHERE id <= {HISTORY}"
    connection.execute(text(f"UPDATE orders SET wake_at = NULL {old}"))
    connection.execute(text(f"UPDATE announcements SET delivered_at = created_at {old}"))


def make(connection: Connection, table: str, columns: dict[str, str]) -> None:
    """A row of a table for every order; the columns' values are SQL."""
    values = ", ".join(columns.values()).replace("{n}", "numbers.n")
    sql = (
        f"INSERT INTO {table} ({', '.join(columns)}) WITH RECURSIVE numbers(n) AS "
        f"(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {HISTORY + LIVE}) "
        f"SELECT {values} FROM numbers"
    )
    given = {name: at for name, at in (("now", NOW), ("later", LATER)) if f":{name}" in sql}
    run(connection, sql, **given)


@contextmanager
def recorded(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """The statements that reach the driver, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def full_scans(connection: Connection, statement: str, parameters: Any) -> list[str]:
    """Steps of a statement's plan that read one of the big tables from end to end."""
    if connection.dialect.name == "sqlite":
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        steps = [str(row.detail) for row in plan]
        return [step for step in steps if step.startswith("SCAN") and step.split()[1] in BIG]
    plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    found = plan.scalar_one()
    tree = json.loads(found) if isinstance(found, str) else found
    return [json.dumps(node) for node in nodes(tree[0]["Plan"]) if is_full_scan(connection, node)]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    children = plan.pop("Plans", [])
    yield plan
    for child in children:
        yield from nodes(child)


def is_full_scan(connection: Connection, node: dict[str, Any]) -> bool:
    """A table's scan, or an index that is read whole and leaves out no row."""
    if node["Node Type"] == "Seq Scan":
        return node["Relation Name"] in BIG
    if "Index Name" not in node or "Index Cond" in node:
        return False
    sql = text("SELECT indpred IS NULL FROM pg_index WHERE indexrelid = CAST(:name AS regclass)")
    return bool(connection.execute(sql, {"name": node["Index Name"]}).scalar_one())


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_of_the_daily_work_reads_a_whole_table(name: str, old_ledger: Connection) -> None:
    with recorded(old_ledger.engine) as statements, old_ledger.begin_nested() as trial:
        assert QUERIES[name](old_ledger), "the query has nothing to find"
        trial.rollback()
    asked = [one for one in statements if one[0].split()[0] in ("SELECT", "UPDATE")]
    assert asked
    for statement, parameters in asked:
        assert full_scans(old_ledger, statement, parameters) == [], statement
