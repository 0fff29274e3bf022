"""The grants of ``refundry db roles``: enough for the whole job, and for nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, ProgrammingError
from typer.testing import CliRunner

from refundry import State
from tests.databases import migrated, opened
from tests.gateway.harness import Gateway, job, problem
from tests.integration.builders import MINUTE, SOMEBODY, Shop
from tests.integration.command_line import invoke
from tests.integration.conftest import MakeShop
from tests.integration.notifications import (
    DECLINED,
    EXECUTED,
    counted,
    hkrt_account,
    notification,
    sent,
    stored,
    take,
)
from tests.integration.test_audit import FATES
from tests.integration.test_settlements import LI, WANG, case_of
from tests.providers.harness import OWN_OPTIONS
from tests.simulator.harness import APPID, Sim
from worker.cli import app
from worker.errors import ServiceAway
from worker.importing.files import copied
from worker.importing.words import Terms
from worker.ledger.engine import Ledger
from worker.ledger.import_rows import result_rows
from worker.ledger.roles import GATEWAY, OPERATOR, READER, WORKER
from worker.ledger.tables import metadata
from worker.refund import Outcome, Verdict
from worker.seal_keys import new_key
from worker.seals import Seals
from worker.steps import import_commands, keeping
from worker.steps.announce import announce
from worker.steps.archive import archive
from worker.steps.cases import ask, close, note
from worker.steps.command import cancel_refund, pause, resubmit_refund, resume
from worker.steps.holds import hold_order, release_by_hand, release_order
from worker.steps.import_files import load
from worker.steps.imports import take_next
from worker.steps.look import Seen, look
from worker.steps.poll import poll
from worker.steps.settle import settle
from worker.steps.settlements import approve, propose
from worker.steps.submit import submit
from worker.steps.sweep import sweep

#: Every table of the ledger.
TABLES = {table.name for table in metadata.sorted_tables} | {"alembic_version"}
#: Columns in which personal data, a secret or a stranger's words may stand.
HIDDEN = {
    "announcements": {"target", "payload"},
    "api_tokens": {"name", "digest", "accounts", "created_at", "revoked_at"},
    "account_entries": {"reason", "detail"},
    "archived_attempts": {"fingerprint", "message", "request", "answer"},
    "archived_events": {"detail"},
    "archives": {"digest"},
    "attempts": {"fingerprint", "message", "request", "answer"},
    "callbacks": {"digest", "content_type", "body"},
    "approvals": {"reason"},
    "case_entries": {"reason", "detail"},
    "cases": {"evidence"},
    "differences": {"digest"},
    "personal_data": {"key_id", "sealed", "digest"},
    "proposals": {"evidence"},
    "reconciliations": {"claimed_until"},
    "statements": {"digest", "layout"},
    "events": {"detail"},
    "import_rows": {"job", "said"},
    "imports": {"digest", "name", "reason"},
    "orders": {"paid_stated", "before_stated", "wake_at", "spaced_until", "hold_token"},
    "refunds": {
        *("releases", "event_seq", "open_sent", "known", "not_found", "not_found_since"),
        *("reason", "fingerprint", "request", "announce", "case_at", "last_answer"),
    },
    "refused_jobs": {"digest", "reason", "job"},
}


#: A column of each table whose rows are only added.
COLUMNS = {
    "events": "kind",
    "account_entries": "what",
    "case_entries": "what",
    "approvals": "reason",
}


@dataclass(frozen=True, kw_only=True)
class Roles:
    """A migrated database of one owner, with the roles that the grants were run for."""

    owner: Ledger
    worker: Ledger
    operator: Ledger
    gateway: Ledger
    reader: Ledger


@pytest.fixture
def roles(postgres_url: str) -> Iterator[Roles]:
    """The grants come from the command, as an operator would run them."""
    wanted = ("worker", "operator", "gateway", "reader")
    names = {name: f'{name}" {secrets.token_hex(4)}' for name in wanted}
    options = [f"--{name}={role}" for name, role in names.items()]
    environment = {"REFUNDRY_DATABASE_URL": postgres_url, "REFUNDRY_BROKER_URL": "redis://x"}
    printed = CliRunner().invoke(app, ["db", "roles", *options], env=environment)
    assert printed.exit_code == 0, printed.output
    with ExitStack() as stack:
        owner = stack.enter_context(migrated(postgres_url))
        for role in names.values():
            run(owner, f"CREATE ROLE {quoted(role)} LOGIN")
        for _ in range(2):  # as after an upgrade
            run(owner, *printed.stdout.splitlines())
        ledgers = {
            name: stack.enter_context(opened(as_role(postgres_url, role)))
            for name, role in names.items()
        }
        yield Roles(owner=owner, **ledgers)
        for role in names.values():
            run(owner, f"DROP OWNED BY {quoted(role)}", f"DROP ROLE {quoted(role)}")


def quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'


def as_role(url: str, role: str) -> str:
    return make_url(url).set(username=role).render_as_string(hide_password=False)


def run(ledger: Ledger, *statements: str) -> None:
    with ledger.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def error_of(ledger: Ledger, statement: str) -> str:
    """The code with which PostgreSQL refuses a statement; empty where it does not."""
    with ledger.engine.connect() as connection:
        try:
            connection.exec_driver_sql(statement)
        except ProgrammingError as error:
            return str(getattr(error.orig, "sqlstate", ""))
        finally:
            connection.rollback()
    return ""


def test_workers_do_the_whole_job_with_no_more_than_they_are_granted(
    roles: Roles, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    shop = make_shop(roles.worker, sim.url, shop={"breaker_failures": 1})
    numbers = [f"{number}x{index}" for index in range(len(FATES))]
    for refund_no, (plan, _) in zip(numbers, FATES.values(), strict=True):
        sim.plan("quickpay", refund_no, **plan)
        shop.accept(order_no=f"O{number}", refund_no=refund_no, announce={"task": "told"})
    assert shop.refused(order_no=f"O{number}", refund_no="R", amount=99) == "over_refund"
    assert shop.refused(order_no=f"O{number}", refund_no="R", amount=99) == "over_refund"
    order_id = shop.value("SELECT id FROM orders")
    wanted = [state for _, state in FATES.values()]
    for _ in range(60):
        submit(shop.runtime, order_id)
        shop.wait(6 * MINUTE)
        sweep(shop.runtime)
        poll(shop.runtime)
        if [shop.state(no) for no in numbers] == wanted:
            break
    assert [shop.state(no) for no in numbers] == wanted
    assert announce(shop.runtime, lambda target, payload: None).delivered > 0
    commands_of(shop)
    assert not [one for one in shop.audit() if not one.warning]


def commands_of(shop: Shop) -> None:
    """What operators do, an attempt that was lost, and a breaker that opens and closes."""
    runtime = shop.runtime
    first = shop.accept(order_no="O1", refund_no="R1")
    token = hold_order(runtime, "shop", "O1")
    release_order(runtime, "shop", "O1", token)
    cancel_refund(runtime, "shop", "R1")
    shop.accept(order_no="O1", refund_no="R2")
    pause(runtime.ledger, "shop", SOMEBODY)
    resume(runtime.ledger, "shop", SOMEBODY)
    intent = shop.claim(first.order_id)
    assert intent is not None
    settle(runtime, intent, Outcome(verdict=Verdict.UNKNOWN, unanswered=True))
    assert sweep(runtime).reaped == 0
    resume(runtime.ledger, "shop", SOMEBODY)
    shop.accept(order_no="O2", refund_no="R3")
    lost = shop.claim(shop.value("SELECT id FROM orders WHERE order_no = 'O2'"))
    assert lost is not None
    shop.wait(9 * 24 * 60 * MINUTE)
    swept = sweep(runtime)
    assert (swept.reaped, swept.aged > 0) == (1, True)


def test_only_operators_settle_a_refund_and_only_two_of_them(
    roles: Roles, make_shop: MakeShop
) -> None:
    """What workers are granted opens the case; the proposal and the approval are not theirs."""
    shop = make_shop(roles.worker)
    case_id = case_of(shop, lost_attempt(shop))
    desk = make_shop(roles.operator)
    desk.clock.now = shop.clock.now
    alone = make_shop(roles.gateway)
    for other in (shop, alone):
        with pytest.raises(ServiceAway, match="db roles"):
            propose(other.runtime, case_id, State.SUCCEEDED, LI)
    propose(desk.runtime, case_id, State.SUCCEEDED, LI)
    for other in (shop, alone):
        with pytest.raises(ServiceAway, match="db roles"):
            approve(other.runtime, case_id, WANG)
    approve(desk.runtime, case_id, WANG)
    assert (desk.state(), desk.audit()) == (State.SUCCEEDED, [])
    for step in (note, ask, close):
        step(desk.runtime, case_of(desk, 1), LI)
    desk.accept(order_no="O2", refund_no="R2")
    hold_order(desk.runtime, "shop", "O2", "li")
    release_by_hand(desk.runtime, "shop", "O2", WANG)


#: What one person would write who has found a way into the database.
ALONE = (
    "INSERT INTO proposals (case_id, refund_id, state, event_seq, evidence, proposed_by, "
    "proposed_at) VALUES (1, 1, 'succeeded', 3, 'x', 'li', now())",
    "INSERT INTO approvals VALUES (1, 'li', 'wang', now(), '')",
    "UPDATE proposals SET closed_at = now()",
    "UPDATE cases SET closed_at = now()",
)


def test_raw_sql_in_a_workers_name_settles_nothing(roles: Roles, make_shop: MakeShop) -> None:
    shop = make_shop(roles.worker)
    case_id = case_of(shop, lost_attempt(shop))
    propose(make_shop(roles.operator).runtime, case_id, State.SUCCEEDED, LI)
    for ledger in (roles.worker, roles.gateway):
        for statement in ALONE:
            assert error_of(ledger, statement) == "42501", statement
        event = "INSERT INTO events VALUES (1, 4, 'succeeded', now(), 'settled', 1, '{}')"
        with pytest.raises(DBAPIError, match="second person"):
            run(ledger, event)
    assert shop.state() is State.UNKNOWN


#: Tables of one's own that are found before the ledger's; anybody may make some.
SHADOWS = {
    "a settlement": (
        "CREATE TEMP TABLE proposals AS SELECT 1 AS id, 1 AS refund_id, 3 AS event_seq,"
        " 'succeeded' AS state",
        "CREATE TEMP TABLE approvals AS SELECT 1 AS proposal_id",
        "INSERT INTO events VALUES (1, 4, 'succeeded', now(), 'settled', 1, '{}')",
        "second person",
    ),
    "a word about an account": (
        "CREATE TEMP TABLE account_entries AS SELECT 'shop' AS account, 'paused' AS what, 1 AS id",
        "UPDATE accounts SET paused_at = now()",
        "by somebody, for a reason",
    ),
    "a copy of what is open": (
        "CREATE TEMP TABLE refunds AS SELECT 1 AS id, 9 AS event_seq, 'failed' AS state",
        "INSERT INTO archived_events SELECT * FROM events",
        "SELECT refundry_let_go(ARRAY[1])",
        "takes copies",
    ),
    "events that no archive has": (
        "CREATE TEMP TABLE archived_events AS SELECT * FROM events",
        "SELECT 1",
        "SELECT refundry_let_go(ARRAY[1])",
        "",
    ),
}


@pytest.mark.parametrize("what", SHADOWS)
def test_a_workers_temporary_tables_stand_for_none_of_the_ledgers(
    what: str, roles: Roles, make_shop: MakeShop
) -> None:
    shop = make_shop(roles.worker)
    lost_attempt(shop)
    events = shop.value("SELECT count(*) FROM events")
    *statements, said = SHADOWS[what]
    if said:
        with pytest.raises(DBAPIError, match=said):
            run(roles.worker, *statements)
    else:
        run(roles.worker, *statements)
    assert shop.value("SELECT count(*) FROM public.events") == events
    assert shop.state() is State.UNKNOWN


def test_a_worker_archives_what_is_old_and_can_delete_nothing_else(
    roles: Roles, make_shop: MakeShop
) -> None:
    """The gateway goes on with what is archived: it reads it, and a notification contradicts it."""
    shop = make_shop(roles.worker, shop=hkrt_account(query=False))
    sent(shop, Verdict.REJECTED, order_no="O1", refund_no="R1")
    sent(shop, Verdict.PENDING, order_no="O2", refund_no="R2")
    shop.wait(timedelta(days=400))
    assert archive(shop.runtime, timedelta(days=1)) == 1
    for statement in (
        "DELETE FROM events",
        "DELETE FROM archived_events",
        "UPDATE archives SET digest = 'x'",
    ):
        assert error_of(roles.worker, statement) == "42501", statement
    assert error_of(roles.gateway, "SELECT refundry_let_go(ARRAY[1])") == "42501"
    assert error_of(roles.reader, "SELECT refundry_let_go(ARRAY[1])") == "42501"
    events = shop.value("SELECT count(*) FROM events")
    run(roles.worker, "SELECT refundry_let_go(ARRAY[1, 2])")
    assert shop.value("SELECT count(*) FROM events") == events
    gateway = make_shop(roles.gateway, shop=hkrt_account(query=False))
    seen = look(gateway.runtime.ledger, "shop", "R1")
    assert isinstance(seen, Seen)
    assert [row["status"] for row in seen.attempts] == ["rejected"]
    assert take(gateway, notification(EXECUTED)).accepted
    assert gateway.value("SELECT kind FROM cases") == "contradicted"
    assert [one for one in shop.audit() if not one.warning] == []
    operator = make_shop(roles.operator, shop=hkrt_account(query=False))
    assert archive(operator.runtime, timedelta(days=1)) == 0


def lost_attempt(shop: Shop) -> int:
    """A refund whose attempt got no answer; its id."""
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    settle(shop.runtime, intent, Outcome(verdict=Verdict.UNKNOWN))
    return intent.refund.id


def test_an_import_needs_no_more_than_workers_are_granted(
    roles: Roles, make_shop: MakeShop, tmp_path: Path
) -> None:
    shop = make_shop(roles.worker)
    path, terms = tmp_path / "refunds.csv", Terms(account="shop", canary=1)
    path.write_text("order_no,refund_no,amount,order_amount\nO1,R1,1,2\nO1,R2,2,2\nO1,R2,1,2\n")
    for _ in range(2):
        with copied(path) as copy:
            one = load(shop.runtime, shop.runtime.ledger, copy, terms, lambda _: None)
    assert take_next(shop.runtime, one.id).rows == 1
    import_commands.pause(roles.worker, one.id, "test")
    import_commands.resume(roles.worker, one.id, budget=9, without_canary=True)
    while take_next(shop.runtime, one.id).rows:
        pass
    assert [row.verdict for row in result_rows(roles.worker, one.id)] == [
        "accepted",
        *["refused"] * 2,
    ]
    shop.execute("UPDATE imports SET state = 'running'")
    import_commands.cancel(roles.worker, one.id)


def test_the_gateways_steps_need_no_more_than_it_is_granted(
    roles: Roles, make_shop: MakeShop
) -> None:
    shop = make_shop(roles.gateway, shop=hkrt_account(), deaf=hkrt_account(query=False), till={})
    sent(shop, order_no="O1", refund_no="R1")
    sent(shop, order_no="O2", refund_no="R2", account="deaf", announce={"task": "told"})
    shop.wait(10 * MINUTE)
    for body in (notification(EXECUTED), notification(EXECUTED), notification(EXECUTED, fen=11)):
        assert take(shop, body).accepted
    assert take(shop, notification(DECLINED, refund_no="R2"), "deaf").accepted
    assert take(shop, notification(EXECUTED, refund_no="NOBODYS")).accepted
    assert not take(shop, b"forged").accepted
    assert not take(shop, b"forged").accepted
    assert (len(stored(shop)), counted(shop)) == (4, {("shop", "unreadable"): 2})
    assert (shop.state("R1"), shop.state("R2")) == (State.SUCCEEDED, State.FAILED)
    sent(shop, Verdict.REJECTED, order_no="O3", refund_no="R3", account="till")
    resubmit_refund(shop.runtime, "till", "R3", 1)
    shop.accept(order_no="O4", refund_no="R4", announce={"task": "told"})
    token = hold_order(shop.runtime, "shop", "O4")
    release_order(shop.runtime, "shop", "O4", token)
    cancel_refund(shop.runtime, "shop", "R4")


def test_the_gateway_serves_under_its_own_role(roles: Roles, tmp_path: Path, valkey: str) -> None:
    own = roles.gateway.engine.url.render_as_string(hide_password=False)
    with Gateway(tmp_path, roles.owner, valkey, REFUNDRY_DATABASE_URL=own) as gateway:
        assert gateway.get("/ready").json()["ledger"] == "ok"
        assert gateway.post("/refunds", job()).status_code == 202
        problem(gateway.post("/refunds", job(amount=11)), 409, "number_used")
        assert gateway.get("/refunds/shop/R1").json()["state"] == "queued"
        assert gateway.post("/refunds/shop/R1/cancel").status_code == 200
        assert gateway.post("/callbacks/hk", {"no": "notification"}).status_code == 400
        assert "ledger.forbidden" not in gateway.log()


def test_only_who_sends_a_refund_reads_what_it_says_of_a_person(
    roles: Roles, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    """The gateway takes it in and knows it again, a worker sends it, an operator purges it."""
    own = {"provider": "guanaitong", "base_url": f"{sim.url}/gat"} | OWN_OPTIONS["guanaitong"]
    old, new = new_key(), new_key()
    gateway, worker, desk = (
        make_shop(ledger, shop=own) for ledger in (roles.gateway, roles.worker, roles.operator)
    )
    for shop, keys in ((gateway, [old]), (worker, [new, old]), (desk, [new, old])):
        shop.runtime = replace(shop.runtime, seals=Seals(keys))
        named = {"order_no": f"{APPID}O{number}", "refund_no": f"{APPID}R{number}"}
        shop.usual |= {**named, "reason": "r", "extra": {"recipientName": "PLANTED"}}
    order_id = gateway.accept().order_id
    assert gateway.accept().repeated
    for ledger in (roles.gateway, roles.operator, roles.reader):
        assert error_of(ledger, "SELECT sealed FROM personal_data") == "42501"
    assert error_of(roles.gateway, "UPDATE personal_data SET purged_at = now()") == "42501"
    assert keeping.tidy(worker.runtime).sealed_anew == 1
    submit(worker.runtime, order_id)
    assert worker.state(f"{APPID}R{number}") is State.SUCCEEDED
    worker.runtime = replace(worker.runtime, personal_for=timedelta(0))
    gateway.accept(order_no=f"{APPID}P{number}", refund_no=f"{APPID}S{number}")
    cancel_refund(gateway.runtime, "shop", f"{APPID}S{number}")
    assert keeping.purge(desk.runtime, timedelta(0), limit=1) == 1
    assert keeping.tidy(worker.runtime).purged == 1


def test_nobody_but_the_owner_changes_the_schema_or_what_was_written_down(roles: Roles) -> None:
    for ledger in (roles.worker, roles.operator, roles.gateway, roles.reader):
        for table in TABLES:
            for statement in ("DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}"):
                assert error_of(ledger, statement.format(table)) == "42501", (statement, table)
            alter = f"ALTER TABLE {table} ADD COLUMN more integer"
            assert error_of(ledger, alter) == "42501", table
        for table in COLUMNS:
            assert error_of(ledger, f"UPDATE {table} SET {COLUMNS[table]} = NULL") == "42501", table
        assert error_of(ledger, "ALTER TABLE events DISABLE TRIGGER ALL") == "42501"
        assert error_of(ledger, "CREATE TABLE mine (id integer)") == "42501"
        assert error_of(ledger, "UPDATE alembic_version SET version_num = 'x'") == "42501"
        assert error_of(ledger, "INSERT INTO api_tokens (name) VALUES ('mine')") == "42501"
        assert error_of(ledger, "UPDATE api_tokens SET revoked_at = NULL") == "42501"
    for statement in ("SELECT digest FROM api_tokens", "INSERT INTO callbacks (body) VALUES ('')"):
        assert error_of(roles.worker, statement) == "42501", statement


def test_finance_reads_what_is_neither_personal_nor_secret_and_writes_nothing(
    roles: Roles,
) -> None:
    for table in metadata.sorted_tables:
        for column in table.columns:
            hidden = column.name in HIDDEN.get(table.name, ())
            found = error_of(roles.reader, f"SELECT {column.name} FROM {table.name}")
            assert found == ("42501" if hidden else ""), column
        for statement in (f"INSERT INTO {table.name} DEFAULT VALUES", f"LOCK TABLE {table.name}"):
            assert error_of(roles.reader, statement) == "42501", statement


def test_no_table_is_forgotten_and_none_is_open_that_is_not_there() -> None:
    """A table that a migration adds needs a decision: name it, for whom it is, or close it here."""
    assert set(WORKER) | {"api_tokens"} == TABLES
    assert set(OPERATOR) == set(WORKER)
    assert set(GATEWAY) | {"account_entries", "import_rows", "imports"} == TABLES
    assert set(READER) | {"api_tokens", "alembic_version"} == TABLES


def test_what_is_forbidden_fails_no_refund_and_is_an_error_in_the_log(
    roles: Roles, make_shop: MakeShop
) -> None:
    """A worker that is told nothing would try for ever, and nobody would know."""
    shop = make_shop(roles.worker)
    run(roles.owner, f"REVOKE INSERT ON refunds FROM {quoted(name_of(roles.worker))}")
    with structlog.testing.capture_logs() as logs, pytest.raises(ServiceAway, match="db roles"):
        shop.accept()
    (said,) = [line for line in logs if line["event"] == "ledger.forbidden"]
    assert (said["log_level"], "permission denied for table refunds" in said["error"]) == (
        "error",
        True,
    )
    assert shop.rows("SELECT * FROM refused_jobs") == []


def name_of(ledger: Ledger) -> str:
    return str(ledger.engine.url.username)


def test_sqlite_has_no_roles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUNDRY_HOME", str(tmp_path))
    assert invoke("db", "roles").exit_code == 1
    assert not list(tmp_path.iterdir())
