"""The archive: what is old leaves the hot tables, and nothing that was known is lost or changed."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from refundry import State
from tests.integration.builders import MINUTE, Shop, findings, race, run
from tests.integration.command_line import installed, invoke
from tests.integration.conftest import MakeShop
from tests.integration.notifications import EXECUTED, hkrt_account, notification, take
from tests.integration.notifications import cases as open_cases
from tests.integration.test_audit import unguarded
from tests.integration.test_indexes import DEAR, ORDER, REFUND, full_scans, make, recorded
from tests.integration.test_reconcile import executed, reconcile
from tests.integration.test_settlements import by_two
from tests.simulator.harness import Sim
from worker.ledger import archive as ledger_of
from worker.ledger import reports
from worker.ledger.engine import Ledger
from worker.refund import Verdict
from worker.steps import archive as step
from worker.steps.announce import announce
from worker.steps.archive import archive, archive_for_a_while, archive_on
from worker.steps.command import cancel_refund, resubmit_refund
from worker.steps.holds import hold_order
from worker.steps.poll import poll

DAY = timedelta(days=1)
YEAR = 400 * DAY
#: Verdicts of a refund's attempts, by its number.
LIVES = {
    "R1": (Verdict.SUCCEEDED,),
    "R2": (Verdict.REJECTED,),
    "R3": (Verdict.NEVER_SENT, Verdict.PENDING),
    "R4": (),
}


def live(shop: Shop, refund_no: str, *verdicts: Verdict, **job: Any) -> int:
    """A refund of an order of its own that was answered so; its id."""
    given = {"order_no": f"O-{refund_no}", "refund_no": refund_no} | job
    accepted = shop.accept(**given)
    for verdict in verdicts:
        shop.wait(10 * MINUTE)
        intent = shop.claim(accepted.order_id)
        assert intent is not None
        shop.settle(intent, verdict)
    return accepted.refund_id


def grow_old(shop: Shop) -> None:
    """Days in which everything is asked about that is due, then a year."""
    for _ in range(3):
        shop.wait(DAY)
        poll(shop.runtime)
    shop.wait(YEAR)


@pytest.fixture
def old(shop: Shop) -> Shop:
    """A shop whose refunds are final, and long so; but for the one that nobody knows the end of."""
    for refund_no, verdicts in LIVES.items():
        live(shop, refund_no, *verdicts)
    cancel_refund(shop.runtime, "shop", "R4")
    grow_old(shop)
    return shop


def history(shop: Shop) -> dict[str, Any]:
    """All that people are shown of every refund."""
    with shop.runtime.ledger.read() as connection:
        ids = [row.id for row in shop.rows("SELECT id FROM refunds ORDER BY id")]
        return {
            str(refund_id): (
                [dataclasses.asdict(one) for one in reports.timeline(connection, refund_id)],
                reports.attempt_rows(connection, refund_id),
            )
            for refund_id in ids
        }


def count(shop: Shop, table: str) -> int:
    return int(shop.value(f"SELECT count(*) FROM {table}"))


def breaches(shop: Shop) -> list[str]:
    return [f"{one.promise} {one.said}" for one in shop.audit() if not one.warning]


def test_what_is_archived_is_shown_and_audited_as_before(old: Shop) -> None:
    before, events, attempts = history(old), count(old, "events"), count(old, "attempts")
    assert archive(old.runtime, YEAR) == 3
    assert history(old) == before
    assert breaches(old) == []
    hot = "SELECT refund_id FROM events GROUP BY refund_id HAVING count(*) = 1 ORDER BY refund_id"
    assert [row.refund_id for row in old.rows(hot)] == [1, 2, 4]
    assert count(old, "attempts") == 2
    assert count(old, "events") + count(old, "archived_events") == events
    assert count(old, "attempts") + count(old, "archived_attempts") == attempts
    assert archive(old.runtime, YEAR) == 0
    assert count(old, "archives") == 3


def open_case_of(shop: Shop) -> None:
    run_case = "INSERT INTO cases (account, kind, subject, {}, owner, opened_at, due_at, evidence)"
    column = "refund_id" if shop.value("SELECT count(*) FROM cases") else "order_id"
    shop.execute(
        run_case.format(column)
        + f" SELECT 'shop', 'missing', 'x', {'id' if column == 'refund_id' else 'order_id'},"
        " 'li', :now, :now, '{}' FROM refunds WHERE refund_no = 'R1'",
        now=shop.clock.now,
    )


#: What keeps R1 in the ledger.
EXPECTED: dict[str, Callable[[Shop], Any]] = {
    "a case of its order": open_case_of,
    "an open refund of its order": lambda shop: shop.accept(order_no="O-R1", refund_no="R1b"),
    "a hold of its order": lambda shop: hold_order(shop.runtime, "shop", "O-R1", "li"),
    "a contradiction of its order": lambda shop: shop.execute(
        "UPDATE orders SET frozen_at = :now WHERE order_no = 'O-R1'", now=shop.clock.now
    ),
    "a question that is due": lambda shop: shop.execute(
        "UPDATE refunds SET due_at = :now WHERE refund_no = 'R1'", now=shop.clock.now
    ),
    "an end that nobody was told of": lambda shop: shop.execute(
        "INSERT INTO announcements (refund_id, event, target, payload, created_at, due_at) SELECT"
        " id, 'final', '{}', '{}', :now, :now FROM refunds WHERE refund_no = 'R1'",
        now=shop.clock.now,
    ),
}


@pytest.mark.parametrize("why", EXPECTED)
def test_nothing_is_archived_of_which_something_is_expected(why: str, shop: Shop) -> None:
    live(shop, "R1", Verdict.SUCCEEDED)
    shop.wait(YEAR)
    EXPECTED[why](shop)
    assert archive(shop.runtime, DAY) == 0
    assert count(shop, "archived_events") == 0


def test_a_case_of_the_refund_keeps_it(shop: Shop) -> None:
    live(shop, "R1", Verdict.SUCCEEDED)
    shop.wait(YEAR)
    open_case_of(shop)
    shop.execute("UPDATE cases SET closed_at = :now", now=shop.clock.now)
    open_case_of(shop)
    assert archive(shop.runtime, DAY) == 0
    shop.execute("UPDATE cases SET closed_at = :now", now=shop.clock.now)
    assert archive(shop.runtime, DAY) == 1


def test_nothing_is_archived_before_its_age_or_while_its_account_watches(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop={}, watching={"watch_days": 30, "query": False})
    live(shop, "R1", Verdict.SUCCEEDED)
    live(shop, "R2", Verdict.SUCCEEDED, account="watching")
    shop.wait(9 * DAY)
    assert archive(shop.runtime, 10 * DAY) == 0
    shop.wait(2 * DAY)
    assert archive(shop.runtime, 10 * DAY) == 1
    shop.wait(20 * DAY)
    assert archive(shop.runtime, 10 * DAY) == 1
    assert breaches(shop) == []


def test_without_a_setting_a_tick_archives_nothing(old: Shop) -> None:
    assert archive_for_a_while(old.runtime) == 0
    settled = dataclasses.replace(old.runtime, hot_for=YEAR)
    assert archive_for_a_while(settled) == 3


def test_batches_are_bounded(old: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "BATCH", 2)
    assert [archive(old.runtime, YEAR, limit=2), *archive_on(old.runtime, YEAR)] == [2, 1]


@pytest.fixture
def told(ledger: Ledger, make_shop: MakeShop) -> Shop:
    """A shop that is notified."""
    return make_shop(ledger, shop=hkrt_account(query=False))


def test_a_late_notification_of_what_is_archived_is_a_contradiction(told: Shop) -> None:
    live(told, "R1", Verdict.REJECTED, order_no="O1")
    told.wait(YEAR)
    assert archive(told.runtime, DAY) == 1
    assert take(told, notification(EXECUTED)).accepted
    assert open_cases(told) == ["contradicted"]
    assert (told.state(), told.value("SELECT reserved FROM orders")) == (State.FAILED, 10)
    assert told.value("SELECT frozen_at FROM orders") is not None
    assert breaches(told) == []
    told.wait(YEAR)
    assert archive(told.runtime, DAY) == 0
    by_two(told, 1, State.SUCCEEDED)
    assert (told.state(), breaches(told)) == (State.SUCCEEDED, [])
    before = history(told)
    told.wait(YEAR)
    assert archive(told.runtime, DAY) == 1
    assert (history(told), breaches(told), count(told, "archives")) == (before, [], 2)
    assert count(told, "events") == 1


def test_the_same_notification_again_changes_nothing(told: Shop) -> None:
    live(told, "R1", Verdict.SUCCEEDED, order_no="O1")
    told.wait(YEAR)
    archive(told.runtime, DAY)
    before = history(told)
    assert take(told, notification(EXECUTED)).accepted
    assert (history(told), open_cases(told), breaches(told)) == (before, [], [])


def test_what_is_archived_is_sent_again_where_somebody_asks(old: Shop) -> None:
    archive(old.runtime, YEAR)
    order_id = resubmit_refund(old.runtime, "shop", "R2", 1)
    intent = old.claim(order_id)
    assert intent is not None
    assert intent.number == 2
    old.settle(intent, Verdict.SUCCEEDED)
    assert (old.state("R2"), breaches(old)) == (State.SUCCEEDED, [])
    assert old.accept(order_no="O-R1", refund_no="R1").repeated
    before = history(old)
    grow_old(old)
    assert archive(old.runtime, YEAR) == 1
    assert (history(old), breaches(old)) == (before, [])


def test_a_question_about_what_is_archived_is_asked_and_answered(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(ledger, sim.url)
    shop.usual |= {"order_no": f"O{number}", "refund_no": number}
    executed(shop)
    shop.wait(YEAR)
    assert archive(shop.runtime, DAY) == 1
    reconciled = reconcile(shop)
    assert reconciled.counts["asked"] == 1
    assert (open_cases(shop), breaches(shop)) == ([], [])


#: What a hand in the database would do; every one is refused by the ledger itself.
REFUSED = {
    "DELETE FROM events WHERE refund_id = 3": "only appended",
    "DELETE FROM events WHERE refund_id = 1": "FOREIGN KEY|foreign key|only appended",
    "UPDATE events SET kind = 'x' WHERE refund_id = 3": "only appended",
    "DELETE FROM attempts WHERE refund_id = 3": "only where the archive has them",
    "UPDATE archived_events SET kind = 'x'": "only added to",
    "DELETE FROM archived_events": "only added to",
    "UPDATE archived_attempts SET status = 'unknown'": "only added to",
    "DELETE FROM archived_attempts": "only added to",
    "UPDATE archives SET digest = 'x'": "only added to",
    "DELETE FROM archives": "only added to",
}  # fmt: skip


@pytest.mark.parametrize("statement", REFUSED)
def test_no_hand_deletes_what_is_not_archived_or_changes_what_is(statement: str, old: Shop) -> None:
    archive(old.runtime, YEAR)
    with pytest.raises(DBAPIError, match=REFUSED[statement]):
        old.execute(statement)
    assert breaches(old) == []


#: What the archive does not take.
NO_COPIES = (
    # of a refund that is open
    "INSERT INTO archived_events SELECT * FROM events WHERE refund_id = 3",
    "INSERT INTO archived_attempts SELECT * FROM attempts WHERE refund_id = 3",
    # the event that its row stands on
    "INSERT INTO archived_events SELECT * FROM events WHERE refund_id = 1",
    # what never stood in the ledger
    "INSERT INTO archived_events SELECT refund_id, 9, state, at, 'x', 1, detail FROM"
    " archived_events WHERE refund_id = 1 AND seq = 1",
    "INSERT INTO archived_attempts SELECT refund_id, 9, status, fingerprint, started_at,"
    " lease_until, finished_at, code, message, request, answer FROM attempts WHERE refund_id = 3",
)


@pytest.mark.parametrize("statement", NO_COPIES)
def test_what_is_no_copy_does_not_get_into_the_archive(statement: str, old: Shop) -> None:
    archive(old.runtime, YEAR)
    with pytest.raises(DBAPIError, match="takes copies"):
        old.execute(statement)
    assert breaches(old) == []


@pytest.mark.parametrize("table", ["archived_events", "archived_attempts", "archives", "attempts"])
def test_no_hand_empties_a_table(postgres_ledger: Ledger, make_shop: MakeShop, table: str) -> None:
    shop = make_shop(postgres_ledger)
    with pytest.raises(DBAPIError, match="only added to"):
        shop.execute(f"TRUNCATE {table}")


CHANGES = ("kind = 'x'", "attempt = 7", "detail = '{}'", "state = 'unknown'", "at = :now")


@pytest.mark.parametrize("change", CHANGES)
def test_an_event_whose_copy_differs_is_not_deleted(old: Shop, change: str) -> None:
    """The copy is spoilt while nothing guards it; the guard of the delete stands again."""
    with old.runtime.ledger.engine.connect() as connection:
        copy = "INSERT INTO archived_events SELECT * FROM events WHERE refund_id = 1 AND seq = 1"
        run(connection, copy)
        spoil(connection, f"UPDATE archived_events SET {change}", old)
        gone = "DELETE FROM events WHERE refund_id = 1 AND seq = 1"
        with pytest.raises(DBAPIError, match="only appended"):
            run(connection, gone)
        connection.rollback()


def spoil(connection: Connection, statement: str, shop: Shop) -> None:
    values = {"now": shop.clock.now} if ":now" in statement else {}
    if connection.dialect.name == "postgresql":
        run(connection, "SET LOCAL session_replication_role = replica")
        run(connection, statement, **values)
        run(connection, "SET LOCAL session_replication_role = origin")
    else:
        run(connection, "DROP TRIGGER archived_events_no_update")
        run(connection, statement, **values)


#: How the archive is tampered with, of a refund that has two lots; what the audit says.
TAMPERED = {
    "UPDATE archived_events SET detail = '{}' WHERE refund_id = 2 AND seq = 2": "not its events 1",
    "UPDATE archived_events SET at = '2020-01-01 00:00:00' WHERE refund_id = 2 AND seq = 4":
        "not its events 3",
    "UPDATE archived_attempts SET message = 'x' WHERE refund_id = 2 AND number = 1":
        "not its events 1",
    "UPDATE archived_attempts SET code = 'x' WHERE refund_id = 2 AND number = 2":
        "not its events 3",
    "DELETE FROM archived_events WHERE refund_id = 2 AND seq = 4": "not its events 3",
    "DELETE FROM archived_attempts WHERE refund_id = 2 AND number = 1": "not its events 1",
    "UPDATE archives SET digest = 'x' WHERE refund_id = 2 AND last_seq = 2": "not its events 1",
    "DELETE FROM archives WHERE refund_id = 2 AND last_seq < 3": "not its events 1",
    "DELETE FROM archives WHERE refund_id = 2": "belong to no lot",
    "UPDATE refunds SET archived_seq = 0 WHERE id = 2": "archived up to event 0",
    "DELETE FROM archived_events WHERE refund_id = 1": "not its events 1",
    "INSERT INTO archived_events SELECT 1, 9, state, at, kind, attempt, detail FROM events"
    " WHERE refund_id = 1": "belong to no lot",
    "UPDATE archived_events SET refund_id = 4 - refund_id WHERE refund_id IN (1, 3)":
        "not its events 1",
}  # fmt: skip


@pytest.fixture
def twice(old: Shop) -> Shop:
    """R2 has failed, was archived, was asked for again, has succeeded, was archived again."""
    archive(old.runtime, YEAR)
    intent = old.claim(resubmit_refund(old.runtime, "shop", "R2", 1))
    assert intent is not None
    old.settle(intent, Verdict.SUCCEEDED)
    grow_old(old)
    assert archive(old.runtime, YEAR) == 1
    return old


@pytest.mark.parametrize("statement", TAMPERED)
def test_the_audit_names_what_was_tampered_with_in_the_archive(statement: str, twice: Shop) -> None:
    assert breaches(twice) == []
    with unguarded(twice) as connection:
        assert connection.execute(text(statement)).rowcount != 0
        said = [one.said for one in findings(connection, twice.clock.now) if not one.warning]
    assert any(TAMPERED[statement] in one for one in said), said


def test_the_audit_names_an_attempt_that_says_something_else_now(twice: Shop) -> None:
    with unguarded(twice) as connection:
        connection.execute(text("UPDATE archived_attempts SET message = 'x' WHERE refund_id = 2"))
        found = [one for one in findings(connection, twice.clock.now) if not one.warning]
    assert {(one.promise, one.row) for one in found} == {("I7", "refund shop/R2")}


class Killed(BaseException):
    """Whoever archives is no more."""


@contextmanager
def killed_at(shop: Shop, place: int) -> Iterator[list[str]]:
    """The process ends before its statement of that number, or in the moment of its commit."""
    engine, seen = shop.runtime.ledger.engine, list[str]()

    def reach(what: str) -> None:
        seen.append(what)
        if len(seen) == place:
            raise Killed

    def statement(_c: Any, _cursor: Any, said: str, *_: Any) -> None:
        reach(said)

    def commit(_: Any) -> None:
        reach("COMMIT")

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", commit)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", statement)
        event.remove(engine, "commit", commit)


def test_killed_anywhere_it_has_happened_whole_or_not_at_all(twice: Shop) -> None:
    for number in range(5, 9):
        live(twice, f"R{number}", Verdict.SUCCEEDED)
    grow_old(twice)
    before, reached = history(twice), list[str]()
    for place in itertools.count(1):
        try:
            with killed_at(twice, place) as seen:
                archive(twice.runtime, YEAR, limit=2)
        except Killed:
            reached.append(seen[-1])
            assert (history(twice), breaches(twice), count(twice, "archives")) == (before, [], 4)
        else:
            break
    assert ("DELETE" in str(reached) or "refundry_let_go" in str(reached), reached[-1]) == (
        True,
        "COMMIT",
    )
    assert (history(twice), breaches(twice), count(twice, "archives")) == (before, [], 6)
    assert sum(archive_on(twice.runtime, YEAR)) == 2
    assert (history(twice), breaches(twice), count(twice, "archives")) == (before, [], 8)


def test_several_that_archive_at_once_archive_everything_once(
    postgres_ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(postgres_ledger)
    for number in range(20):
        live(shop, f"R{number}", Verdict.SUCCEEDED)
    shop.wait(YEAR)
    before = history(shop)
    taken = race(lambda _: sum(archive(shop.runtime, DAY, limit=3) for _ in range(8)))
    assert sum(taken) == count(shop, "archives") == 20
    assert (history(shop), breaches(shop)) == (before, [])


def test_it_waits_for_nobody_and_nobody_waits_for_it(
    postgres_ledger: Ledger, make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a batch is open an order's other refund is taken in; what is locked is left out."""
    shop = make_shop(postgres_ledger)
    live(shop, "R1", Verdict.SUCCEEDED, order_no="O1")
    live(shop, "R2", Verdict.SUCCEEDED)
    shop.wait(YEAR)
    reached, go_on = threading.Event(), threading.Event()
    lets_go = ledger_of.let_go

    def waiting(*given: Any) -> None:
        reached.set()
        assert go_on.wait(20)
        lets_go(*given)

    with shop.runtime.ledger.engine.connect() as other:
        other.execute(text("SELECT 1 FROM refunds WHERE refund_no = 'R2' FOR UPDATE"))
        monkeypatch.setattr(ledger_of, "let_go", waiting)
        archiving = threading.Thread(target=archive, args=(shop.runtime, DAY))
        archiving.start()
        assert reached.wait(20)
        live(shop, "R3", Verdict.SUCCEEDED, order_no="O1")
        go_on.set()
        archiving.join(20)
        other.rollback()
    assert [row.refund_id for row in shop.rows("SELECT refund_id FROM archives")] == [1]
    assert breaches(shop) == []


def test_what_is_due_is_found_by_an_index(shop: Shop) -> None:
    for number in range(3):
        live(shop, f"R{number}", Verdict.SUCCEEDED)
    shop.wait(YEAR)
    with recorded(shop.runtime.ledger.engine) as statements:
        assert archive(shop.runtime, DAY) == 3
    with shop.runtime.ledger.engine.connect() as connection:
        fill_up(connection)
        if connection.dialect.name == "postgresql":
            for plan in DEAR:
                connection.execute(text(f"SET LOCAL {plan} = off"))
        for statement, given in statements:
            parameters = given[0] if isinstance(given, list) else given
            if statement.split()[0] in ("SELECT", "UPDATE", "DELETE", "INSERT"):
                assert full_scans(connection, statement, parameters) == [], statement
        connection.rollback()


def fill_up(connection: Connection) -> None:
    """Thousands of refunds beside: of three, any plan is as good as another."""
    beside = {"id": "{n} + 1000", "order_no": "'P' || {n}"}
    make(connection, "orders", ORDER | beside)
    own = {"id": "{n} + 1000", "order_id": "{n} + 1000", "refund_no": "'P' || {n}"}
    make(connection, "refunds", REFUND | own)
    event = {"refund_id": "{n} + 1000", "seq": "1", "state": "'queued'", "at": ":now"}
    told = {"kind": "'accepted'", "attempt": "0", "detail": "'{}'"}
    make(connection, "events", event | told)
    connection.execute(text("ANALYZE"))


def test_the_command_archives_and_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = '[accounts.shop]\nprovider = "quickpay"\nbase_url = "http://127.0.0.1:9"\n'
    runtime = installed(tmp_path, monkeypatch, accounts + 'store_no = "S"\noperator = "o"\n')
    shop = Shop(runtime=runtime, clock=None)  # type: ignore[arg-type]
    shop.accept(announce={"task": "told"})
    cancel_refund(runtime, "shop", "R1")
    for _ in range(2):
        announce(runtime, lambda target, payload: None)
    assert invoke("archive").exit_code == 2
    before = json.loads(invoke("status", "R1", "--json").stdout)
    assert json.loads(invoke("archive", "--days", "0", "--json").stdout) == {
        "archived": 1,
        "in_archive": 1,
    }
    assert "archived 0 refunds; the archive has 1" in invoke("archive", "--days", "0").stdout
    assert json.loads(invoke("status", "R1", "--json").stdout) == before
    assert invoke("audit").exit_code == 0
