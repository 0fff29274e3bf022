"""What each database role may do, as the GRANTs that the owner of the schema runs (PostgreSQL).

The owner migrates, and makes and revokes the gateway's tokens. Nobody else changes the schema,
and nobody deletes: the ledger is corrected by adding rows. A table or a reader's column that is
not named here is closed.
"""

from collections.abc import Iterator, Mapping
from typing import Final

_READ: Final = "SELECT"
_ADD: Final = "SELECT, INSERT"
_CHANGE: Final = "SELECT, INSERT, UPDATE"
#: Personal data, but for what is under seal: that is read by whoever sends it, a worker.
_SEALED: Final = "SELECT (refund_id, key_id, digest, kept_at, purged_at)"

#: Deletes of the ledger what the archive has, and nothing else.
_LET_GO: Final = "public.refundry_let_go(bigint[])"

#: Workers and beat. Nobody settles a refund in their name.
WORKER: Final = {
    "account_entries": _ADD,
    "accounts": _CHANGE,
    "alembic_version": _READ,
    "announcements": _CHANGE,
    "approvals": _READ,
    "archived_attempts": _ADD,
    "archived_events": _ADD,
    "archives": _ADD,
    "attempts": _CHANGE,
    "callbacks": _READ,
    "case_entries": _ADD,
    "cases": _ADD,
    "differences": _CHANGE,
    "events": _ADD,
    "import_rows": _CHANGE,
    "imports": _CHANGE,
    "orders": _CHANGE,
    "personal_data": _CHANGE,
    "proposals": _READ,
    "reconciliations": _CHANGE,
    "refunds": _CHANGE,
    "refused_callbacks": _READ,
    "refused_jobs": _CHANGE,
    "statement_lines": _CHANGE,
    "statements": _CHANGE,
}
#: The operators' commands: a worker's, and what people do about cases.
OPERATOR: Final = WORKER | {
    "approvals": _ADD,
    "cases": _CHANGE,
    "personal_data": f"{_SEALED}, UPDATE (key_id, sealed, digest, purged_at)",
    "proposals": _CHANGE,
}
#: The gateway: what its routes do.
GATEWAY: Final = {
    "accounts": _CHANGE,
    "alembic_version": _READ,
    "announcements": _ADD,
    "api_tokens": _READ,
    "approvals": _READ,
    "archived_attempts": _READ,
    "archived_events": _READ,
    "archives": _READ,
    "attempts": _CHANGE,
    "callbacks": _CHANGE,
    "case_entries": _ADD,
    "cases": _ADD,
    "differences": _READ,
    "events": _ADD,
    "orders": _CHANGE,
    "personal_data": f"{_SEALED}, INSERT",
    "proposals": _READ,
    "reconciliations": _READ,
    "refunds": _CHANGE,
    "refused_callbacks": _CHANGE,
    "refused_jobs": _CHANGE,
    "statement_lines": _READ,
    "statements": _READ,
}
_ATTEMPT_SHOWN: Final = "refund_id, number, status, started_at, lease_until, finished_at, code"
_EVENT_SHOWN: Final = "refund_id, seq, state, at, kind, attempt"
#: Finance: columns that hold no personal data and no secret, and none in which either may stand.
READER: Final = {
    "account_entries": "id, account, at, who, what",
    "accounts": (
        "name, provider, merchant, paused_at, paused_reason, failures, breaker_until, "
        "query_first_since, query_first_reason"
    ),
    "announcements": "id, refund_id, event, created_at, due_at, tries, delivered_at",
    "approvals": "proposal_id, proposed_by, approved_by, approved_at",
    "archived_attempts": _ATTEMPT_SHOWN,
    "archived_events": _EVENT_SHOWN,
    "archives": "refund_id, last_seq, last_attempt, archived_at",
    "attempts": _ATTEMPT_SHOWN,
    "callbacks": "id, account, refund_id, refund_no, verdict, stale, times, first_at, last_at",
    "case_entries": "id, case_id, at, who, what",
    "cases": (
        "id, account, kind, subject, order_id, refund_id, owner, opened_at, due_at, closed_at"
    ),
    "differences": (
        "id, account, merchant, kind, refund_id, statement_id, line, run_id, case_id, found_at, "
        "explained_at"
    ),
    "events": _EVENT_SHOWN,
    "import_rows": (
        "import_id, row_no, account, merchant, order_no, refund_no, amount, verdict, code, "
        "refund_id, at"
    ),
    "imports": (
        "id, account, unit, budget, spent, canary, canary_passed, state, row_count, created_at, "
        "state_at"
    ),
    "orders": (
        "id, merchant, order_no, currency, order_amount, paid_amount, refunded_before, reserved, "
        "refunded, excess, marketing_reserved, marketing_refunded, paid_at, created_at, frozen_at, "
        "held_at, held_by, provider_refunded, provider_left, figures_at"
    ),
    "personal_data": "refund_id, kept_at, purged_at",
    "proposals": (
        "id, case_id, refund_id, state, event_seq, proposed_by, proposed_at, closed_at, "
        "withdrawn_by"
    ),
    "reconciliations": (
        "id, account, since, until, order_id, begun_by, began_at, ended_at, phase, phase_at, "
        "reached, reached_at, counts"
    ),
    "refunds": (
        "id, order_id, account, merchant, refund_no, amount, marketing_amount, state, holds_order, "
        "attempt, sent, contested_reserved, contested_excess, contested_marketing, "
        "provider_refund_no, accepted_at, state_at, due_at, asked, asked_at, cleared_at, "
        "needs_approval, archived_seq"
    ),
    "refused_callbacks": "account, code, times, first_at, last_at",
    "refused_jobs": "id, task, account, refund_no, code, times, first_at, last_at",
    "statement_lines": (
        "statement_id, number, refund_no, provider_refund_no, order_no, amount, day, succeeded, "
        "result, refund_id, result_at"
    ),
    "statements": (
        "id, account, file_name, covers_from, covers_until, lines, paid, skipped, begun_at, "
        "whole_at, completed_at, results, signs, doubt, accepted_at"
    ),
}


def grants(worker: str, operator: str, gateway: str, reader: str) -> Iterator[str]:
    """The statements, for roles that are there; run again, they give what is written here alone."""
    yield "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    for role in (worker, operator, gateway, reader):
        yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {_quoted(role)}"
        yield f"REVOKE ALL ON FUNCTION {_LET_GO} FROM {_quoted(role)}"
        yield f"GRANT USAGE ON SCHEMA public TO {_quoted(role)}"
    yield from _granted(worker, WORKER)
    yield from _granted(operator, OPERATOR)
    for role in (worker, operator):
        yield f"GRANT EXECUTE ON FUNCTION {_LET_GO} TO {_quoted(role)}"
    yield from _granted(gateway, GATEWAY)
    shown = {table: f"SELECT ({columns})" for table, columns in READER.items()}
    yield from _granted(reader, shown)


def _granted(role: str, rights: Mapping[str, str]) -> Iterator[str]:
    for table, right in rights.items():
        yield f"GRANT {right} ON public.{table} TO {_quoted(role)}"


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
