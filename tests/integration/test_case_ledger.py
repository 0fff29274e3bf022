"""What the ledger holds of cases: what they are about, until when, and that nothing is undone."""

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, text

from tests.databases import opened
from tests.integration.builders import (
    NOW,
    Shop,
    insert,
    raw_event,
    raw_order,
    raw_refund,
)
from tests.integration.builders import run as execute
from tests.integration.test_constraints import refuses
from worker.case_rules import CASE_RULES, due_by
from worker.ledger import case_reports, migrate
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.ledger.journal import open_case, open_case_about
from worker.refund import Case

PROPOSAL = {
    "id": 1, "case_id": 1, "refund_id": 1, "state": "succeeded", "event_seq": 1,
    "evidence": "the statement", "proposed_by": "li", "proposed_at": NOW,
}  # fmt: skip
APPROVAL = {
    "proposal_id": 1, "proposed_by": "li", "approved_by": "wang", "approved_at": NOW, "reason": "",
}  # fmt: skip


@pytest.fixture
def ground(scratch: Connection) -> Connection:
    """A queued refund R1 of O1 with a case, and li's proposal about it."""
    insert(scratch, "accounts", name="shop", provider="quickpay", merchant="M")
    raw_refund(scratch, 1, raw_order(scratch, 1))
    raw_event(scratch, 1, 1, "queued")
    case = {"account": "shop", "subject": "R1", "order_id": 1, "refund_id": 1, "owner": "o"}
    times = {"opened_at": NOW, "due_at": NOW}
    insert(scratch, "cases", id=1, kind="aged", evidence="{}", **case, **times)
    insert(scratch, "proposals", **PROPOSAL)
    return scratch


def test_every_kind_of_case_has_a_rule() -> None:
    assert set(CASE_RULES) == set(Case)
    assert all(due_by(kind, NOW) > NOW for kind in Case)


def test_a_case_of_a_refund_says_what_it_is_about_and_until_when(shop: Shop) -> None:
    accepted = shop.accept()
    with shop.runtime.ledger.write() as connection:
        (refund_id,) = connection.execute(text("SELECT id FROM refunds")).scalars()
        assert open_case(connection, refund_id, Case.AGED, {"a": 1}, NOW)
        assert not open_case(connection, refund_id, Case.AGED, {"a": 2}, NOW)
    with shop.runtime.ledger.read() as connection:
        (case,) = case_reports.open_cases(connection, 10)
    assert (case.account, case.subject, case.order_no) == ("shop", "R1", "O1")
    assert (case.refund_no, case.amount, case.state) == ("R1", 10, "queued")
    assert (case.evidence, case.due_at) == ({"a": 1}, due_by(Case.AGED, NOW))
    (entry,) = shop.rows("SELECT who, what FROM case_entries")
    assert tuple(entry) == ("refundry", "opened")
    assert shop.value("SELECT order_id FROM cases") == accepted.order_id


def test_a_case_may_be_about_what_nobody_here_has_asked_for(shop: Shop) -> None:
    with shop.runtime.ledger.write() as connection:
        for subject, opens in (("L7", True), ("L7", False), ("L8\x00" + "x" * 200, True)):
            opened = open_case_about(connection, "shop", Case.MISMATCHED, subject, {}, NOW)
            assert opened is opens, subject
        execute(connection, "UPDATE cases SET closed_at = :now WHERE subject = 'L7'", now=NOW)
        assert open_case_about(connection, "shop", Case.MISMATCHED, "L7", {}, NOW)
    with shop.runtime.ledger.read() as connection:
        shown = [
            (one.subject[:3], one.refund_no) for one in case_reports.open_cases(connection, 10)
        ]
    assert shown == [("L8?", None), ("L7", None)]


@pytest.mark.parametrize("table", ["case_entries", "approvals"])
def test_what_was_done_about_a_case_is_never_changed_or_deleted(
    table: str, ground: Connection
) -> None:
    entry = {"case_id": 1, "at": NOW, "who": "li", "what": "noted", "reason": "", "detail": "{}"}
    insert(ground, "case_entries", **entry)
    insert(ground, "approvals", **APPROVAL)
    refuses(ground, f"{table} are only added", f"UPDATE {table} SET reason = 'x'")
    refuses(ground, f"{table} are only added", f"DELETE FROM {table}")


@pytest.mark.parametrize("table", ["case_entries", "approvals"])
def test_what_was_done_about_cases_is_never_truncated(table: str, postgres_ledger: Ledger) -> None:
    with postgres_ledger.engine.connect() as connection:
        refuses(connection, "are only added", f"TRUNCATE {table} CASCADE")


@pytest.mark.parametrize(
    "change",
    [
        "state = 'failed'",
        "event_seq = 2",
        "evidence = 'x'",
        "proposed_by = 'wang'",
        "refund_id = 2",
    ],
)
def test_a_proposal_stays_as_it_was_made(change: str, ground: Connection) -> None:
    refuses(ground, "a proposal is only closed, once", f"UPDATE proposals SET {change}")
    refuses(ground, "a proposal is", "DELETE FROM proposals")
    execute(ground, "UPDATE proposals SET closed_at = :now, withdrawn_by = 'li'", now=NOW)
    for again in ("closed_at = NULL", "withdrawn_by = 'wang'"):
        refuses(ground, "a proposal is only closed, once", f"UPDATE proposals SET {again}")


@pytest.mark.parametrize("who", ["li", "LI", " Li ", "", "  "])
def test_nobody_approves_his_own_proposal(who: str, ground: Connection) -> None:
    with pytest.raises(Exception, match="by_another"), ground.begin_nested():
        insert(ground, "approvals", **APPROVAL | {"approved_by": who})
    with pytest.raises(Exception, match=r"(?i)foreign key"), ground.begin_nested():
        insert(ground, "approvals", **APPROVAL | {"approved_by": "li", "proposed_by": "wang"})
    insert(ground, "approvals", **APPROVAL)


def test_a_refund_has_one_open_proposal(ground: Connection) -> None:
    with pytest.raises(Exception, match=r"uq_proposals_open|proposals\.refund_id"):
        insert(ground, "proposals", **PROPOSAL | {"id": 2, "proposed_by": "wang"})


def settles(connection: Connection, seq: int, state: str) -> None:
    values = {"at": NOW, "kind": "settled", "attempt": 0, "detail": "{}"}
    with connection.begin_nested() as trial:
        insert(connection, "events", refund_id=1, seq=seq, state=state, **values)
        trial.rollback()


@pytest.mark.parametrize(("seq", "state"), [(2, "failed"), (3, "succeeded"), (2, "succeeded")])
def test_no_event_of_a_settlement_is_written_without_the_approval_of_just_that(
    seq: int, state: str, ground: Connection
) -> None:
    with pytest.raises(Exception, match="second person"):
        settles(ground, seq, state)


def test_the_event_of_an_approved_settlement_is_written(ground: Connection) -> None:
    insert(ground, "approvals", **APPROVAL)
    settles(ground, 2, "succeeded")


def test_the_cases_of_an_older_ledger_are_kept(database_url: str, tmp_path: Path) -> None:
    old = {"kind": "aged", "owner": "operations", "opened_at": NOW, "evidence": '{"a": 1}'}
    upgrade_to(database_url, "0004")
    with opened(database_url) as ledger, ledger.write() as connection:
        insert(connection, "accounts", name="shop", provider="quickpay", merchant="M")
        raw_refund(connection, 7, raw_order(connection, 5))
        raw_event(connection, 7, 1, "queued")
        insert(connection, "cases", refund_id=7, **old)
        insert(connection, "cases", refund_id=7, **old | {"kind": "limit"}, closed_at=NOW)
    migrate.upgrade(database_url)
    with opened(database_url) as ledger, ledger.write() as connection:
        first, second = case_reports.cases_of(connection, 7)
        assert (first.subject, first.account, first.order_no) == ("R7", "shop", "O5")
        assert ((first.due_at - NOW).days, first.evidence) == (1, {"a": 1})
        assert (first.closed_at, second.closed_at) == (None, NOW)
        assert not open_case(connection, 7, Case.AGED, {}, NOW)
        assert open_case(connection, 7, Case.LIMIT, {}, NOW)
        what: Any = text("SELECT what FROM case_entries ORDER BY id")
        assert list(connection.execute(what).scalars()) == ["opened"] * 3


def upgrade_to(url: str, revision: str) -> None:
    """A ledger of an older version."""
    engine = create_ledger_engine(url)
    with engine.begin() as connection:
        command.upgrade(migrate._config(connection), revision)
    engine.dispose()
