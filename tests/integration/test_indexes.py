"""The queries of messages and ticks find their rows by an index, however old the ledger."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from tests.integration.builders import NOW, insert, run
from worker.importing.words import RowVerdict
from worker.ledger import (
    callbacks,
    cases,
    import_rows,
    journal,
    matching,
    orders,
    query_first,
    questions,
    reconciliations,
    refunds,
    scenes,
    statements,
)
from worker.ledger.engine import FixedClock, Ledger
from worker.ledger.reconciliations import Run
from worker.ledger.statements import Statement
from worker.statements.judging import Result

#: Orders of the past, each with a refund that is final.
HISTORY = 5000
#: Orders that something is due of, of every kind.
LIVE = 40
BIG = (
    "refunds", "orders", "attempts", "announcements", "events", "callbacks", "import_rows",
    "statement_lines",
)  # fmt: skip
#: To look up some dozens of refunds costs about as much as this short history read whole, more or
#: less by how full its pages are. For claims after a restore these plans are taken only where no
#: index serves, as they would be after years.
DEAR = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")
LATER = NOW + timedelta(hours=1)
DAY = timedelta(days=1)
TIME = FixedClock(NOW).expression("postgresql")
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
    "accepted_at": ":now", "state_at": f"CASE WHEN {{n}} > {HISTORY} THEN :later ELSE :now END",
    "due_at": ":now", "case_at": ":later",
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
IMPORT_ROW = {
    "import_id": "1", "row_no": "{n}", "job": "'{}'", "merchant": "'M'",
    "refund_no": "'R' || {n}", "amount": "10",
    "verdict": f"CASE WHEN {{n}} > {HISTORY} THEN 'waiting' ELSE 'repeated' END",
    "refund_id": f"CASE WHEN {{n}} > {HISTORY} THEN NULL ELSE {{n}} END",
}  # fmt: skip


LINE = {
    "statement_id": "1", "number": "{n}", "refund_no": "'R' || {n}", "provider_refund_no": "''",
    "order_no": "'O' || {n}", "amount": "10", "succeeded": "TRUE",
    "result": f"CASE WHEN {{n}} > {HISTORY} THEN 'new' ELSE 'agreed' END",
    "refund_id": f"CASE WHEN {{n}} > {HISTORY} THEN NULL ELSE {{n}} END",
}  # fmt: skip
STATEMENT = {
    "id": 1, "account": "shop", "file_name": "f", "digest": "d", "layout": "l", "lines": 1,
    "covers_from": NOW, "covers_until": LATER, "paid": 1, "skipped": 0, "begun_at": NOW,
    "results": "{}",
}  # fmt: skip


def has_said_so(connection: Connection) -> bool:
    """The verdict of one row."""
    said = import_rows.Said(row_no=HISTORY + 5, verdict=RowVerdict.REFUSED)
    import_rows.write_verdicts(connection, 1, [said], NOW)
    return True


def done(step: Callable[..., None], *arguments: Any) -> bool:
    """A step that says nothing."""
    step(*arguments)
    return True


#: The rest of the queries' arguments are these.
QUERIES: dict[str, Callable[[Connection], Any]] = {
    "head_of_order": lambda c: refunds.head_of_order(c, HISTORY + 5, lock=True),
    "head_of_order, unlocked": lambda c: refunds.head_of_order(c, HISTORY + 5, lock=False),
    "find_refund": lambda c: refunds.find_refund(c, "M", "R77"),
    "used_numbers": lambda c: refunds.used_numbers(c, "M", ["R77", "R78"]),
    "find_refunds_by_number": lambda c: refunds.find_refunds_by_number(c, "R77"),
    "latest_refund": lambda c: refunds.latest_refund(c, 77),
    "count_refunds_of_order": lambda c: refunds.count_refunds_of_order(c, 77) or True,
    "may_be_sent": lambda c: refunds.may_be_sent(c, [HISTORY + 4]) or True,
    "claim_questions": lambda c: questions.claim_questions(c, "shop", None, NOW, LATER, 64),
    "claim_questions, query first": lambda c: questions.claim_questions(
        c, "shop", LATER, NOW, LATER, 20
    ),
    "count_questions": lambda c: questions.count_questions(c, "shop", LATER, NOW, 64),
    "accounts_with_questions": lambda c: questions.accounts_with_questions(c, ["shop"], NOW),
    "has_uncleared": lambda c: query_first.has_uncleared(c, HISTORY + 5, ["shop"]) or True,
    "attempts_past_lease": lambda c: refunds.attempts_past_lease(c, LATER, 500),
    "claim_aged": lambda c: refunds.claim_aged(c, NOW, 500),
    "held_orders": lambda c: cases.held_orders(c, 500),
    "claim_orders_to_wake": lambda c: orders.claim_orders_to_wake(c, NOW, LATER, 500),
    "refunds_to_look_at": lambda c: callbacks.refunds_to_look_at(c, "shop", NOW, 500),
    "last_callback": lambda c: callbacks.last_callback(c, 77, "rejected"),
    "callbacks_of": lambda c: callbacks.callbacks_of(c, 77),
    "find_order": lambda c: orders.find_order(c, "M", "O77"),
    "waiting_rows": lambda c: import_rows.waiting_rows(c, 1, 100),
    "canaries": lambda c: import_rows.canaries(c, 1, 5),
    "last_row": lambda c: import_rows.last_row(c, 1),
    "write_verdicts": has_said_so,
    "lock_order": lambda c: orders.lock_order(c, 77),
    "lock_rows": lambda c: scenes.lock_rows(c, TIME, [77, 78]),
    "lock_rows, if free": lambda c: scenes.lock_rows(c, TIME, [77, 78], if_free=True),
    "due_announcements": lambda c: journal.due_announcements(c, NOW, 200, by_url=False),
    "due_announcements, by URL": lambda c: (
        journal.due_announcements(c, NOW, 200, by_url=True, but_not=["https://a"]) or True
    ),
}

#: A run over the time in which the live refunds came into their states.
RUN = Run(
    id=1, account="shop", since=LATER, until=LATER + DAY, order_id=None, begun_by="beat",
    began_at=LATER, ended_at=None, phase="asking", phase_at=NOW, reached=0,
    reached_at=LATER, counts={},
)  # fmt: skip
BILL = Statement(
    id=1, account="shop", file_name="", digest="", layout="", covers_from=LATER,
    covers_until=LATER + DAY, lines=0, paid=0, skipped=0, begun_at=NOW, whole_at=NOW,
    completed_at=None, results={}, signs={}, doubt=None, accepted_at=None,
)  # fmt: skip
NUMBERS = [f"R{number}" for number in range(1, 20)]
QUERIES |= {
    "ask_again": lambda c: reconciliations.ask_again(c, RUN, NOW - DAY, LATER, 100),
    "next_settled": lambda c: reconciliations.next_settled(c, RUN, 100),
    "kept_figures": lambda c: reconciliations.kept_figures(c, [77, 78]) or True,
    "unlisted": lambda c: statements.unlisted(c, BILL, (LATER, 0), 100) or True,
    "refunds_numbered": lambda c: matching.refunds_numbered(c, "M", NUMBERS),
    "refunds_numbered_by_provider": lambda c: (
        matching.refunds_numbered_by_provider(c, "M", ["P1"]) or True
    ),
    "refunds_of_orders": lambda c: matching.refunds_of_orders(c, "M", ["O1", "O2"]),
    "known_orders": lambda c: matching.known_orders(c, "M", ["O1", "O2"]),
    "refunds_beside": lambda c: matching.refunds_beside(c, [1, 2, 3]),
    "listed_in": lambda c: matching.listed_in(c, 1, [1, 2, 3]),
    "count_unlisted": lambda c: statements.count_unlisted(c, BILL),
    "still_unlisted": lambda c: statements.still_unlisted(c, [1, HISTORY + 1]),
    "last_of_next": lambda c: matching.last_of_next(c, 1, Result.NEW, 0, 20),
    "undone_lines": lambda c: matching.undone_lines(c, 1, Result.NEW, 0, 20),
    "link_by_number": lambda c: done(matching.link_by_number, c, 1, "M", HISTORY, HISTORY + 9, NOW),
    "write_result": lambda c: done(matching.write_result, c, 1, [1, 2], Result.AGREED, NOW),
    "ask_now": lambda c: done(matching.ask_now, c, [1, 2, 3], NOW),
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
    words = {"digest": "d", "name": "f", "unit": "fen", "state": "running", "canary": 0}
    when = {"canary_passed": True, "created_at": NOW, "state_at": NOW}
    insert(connection, "imports", id=1, **words, **when)
    make(connection, "import_rows", IMPORT_ROW)
    insert(connection, "statements", **STATEMENT)
    make(connection, "statement_lines", LINE)
    old = f"WHERE id <= {HISTORY}"
    connection.execute(text(f"UPDATE orders SET wake_at = NULL {old}"))
    held = f"SET hold_token = 'x', held_at = wake_at WHERE id > {HISTORY} AND id % 6 = 5"
    connection.execute(text(f"UPDATE orders {held}"))
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
    if node.get("Relation Name", BIG[0]) not in BIG:
        return False
    if node["Node Type"] == "Seq Scan":
        return True
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
    with old_ledger.begin_nested() as looking:
        if old_ledger.dialect.name == "postgresql" and "query first" in name:
            for plan in DEAR:
                old_ledger.execute(text(f"SET LOCAL {plan} = off"))
        for statement, parameters in asked:
            assert full_scans(old_ledger, statement, parameters) == [], statement
        looking.rollback()
