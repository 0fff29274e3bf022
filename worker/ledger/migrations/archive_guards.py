"""The triggers of the archive: it has copies of what stands in the ledger, and only grows.

What was appended is deleted where the same stands in the archive, and nowhere else. Every function
names where its tables are: a temporary one of the same name, which anybody may make, is none.
"""

from collections.abc import Iterator
from typing import Final

#: What of a row has to be the same.
_COLUMNS: Final = {
    "events": ("refund_id", "seq", "state", "at", "kind", "attempt", "detail"),
    "attempts": (
        "refund_id",
        "number",
        "status",
        "fingerprint",
        "started_at",
        "lease_until",
        "finished_at",
        "code",
        "message",
        "request",
        "answer",
    ),
}
#: Columns that may be empty, which `=` does not compare.
_MAY_BE_EMPTY: Final = frozenset({"finished_at", "request", "answer"})
_FINAL: Final = "r.state IN ('succeeded', 'failed', 'canceled', 'reversed')"
#: What may be copied: of a refund that is final, all but the event that its row stands on.
_MAY_BE: Final = {
    "events": f"{_FINAL} AND NEW.seq < r.event_seq",
    "attempts": f"{_FINAL} AND NEW.status <> 'started'",
}
_ONLY_COPIES: Final = "the archive takes copies of what is final and stands in the ledger"
_ONLY_ADDED: Final = "the archive is only added to"
_ARCHIVE: Final = ("archived_events", "archived_attempts", "archives")
_DELETED: Final = {
    "events": "events are only appended",
    "attempts": "attempts are deleted only where the archive has them",
}
#: Guards of before that read tables.
_OLDER: Final = (
    "events_settled_by_two",
    "refunds_settled_by_two",
    "refunds_sent_by_two",
    "spoken_for",
)


def _same(table: str, one: str, other: str, empty: str) -> str:
    return " AND ".join(
        f"{one}.{name} {empty if name in _MAY_BE_EMPTY else '='} {other}.{name}"
        for name in _COLUMNS[table]
    )


def _stands(table: str, empty: str) -> str:
    """The row that is added to the archive stands in the ledger, and may be archived."""
    return (
        f"EXISTS (SELECT 1 FROM {table} o JOIN refunds r ON r.id = o.refund_id"
        f" WHERE {_same(table, 'o', 'NEW', empty)} AND {_MAY_BE[table]})"
    )


def _archived(table: str, empty: str) -> str:
    """The archive has the row that is deleted."""
    return f"EXISTS (SELECT 1 FROM archived_{table} a WHERE {_same(table, 'a', 'OLD', empty)})"


def _sqlite() -> Iterator[str]:
    yield "DROP TRIGGER events_no_delete"
    for table, said in _DELETED.items():
        yield _raises(f"{table}_no_delete", f"DELETE ON {table}", _archived(table, "IS"), said)
        copied = f"INSERT ON archived_{table}"
        yield _raises(f"archived_{table}_copies", copied, _stands(table, "IS"), _ONLY_COPIES)
    for table in _ARCHIVE:
        for action in ("UPDATE", "DELETE"):
            name = f"{table}_no_{action.lower()}"
            yield _raises(name, f"{action} ON {table}", "FALSE", _ONLY_ADDED)


def _raises(name: str, when: str, unless: str, said: str) -> str:
    return (
        f"CREATE TRIGGER {name} BEFORE {when} WHEN NOT ({unless}) BEGIN "
        f"SELECT RAISE(ABORT, '{said}'); END"
    )


def _postgresql(schema: str) -> Iterator[str]:
    path = f'SET search_path = pg_catalog, "{schema}", pg_temp'
    empty = "IS NOT DISTINCT FROM"
    yield _function("refundry_archive_only_added", path, f"RAISE EXCEPTION '{_ONLY_ADDED}';")
    for table in _ARCHIVE:
        yield _for_each("ROW", f"{table}_only_added", f"UPDATE OR DELETE ON {table}",
                        "refundry_archive_only_added")  # fmt: skip
        yield _for_each("STATEMENT", f"{table}_no_truncate", f"TRUNCATE ON {table}",
                        "refundry_archive_only_added")  # fmt: skip
    for table, said in _DELETED.items():
        deleted, copied = f"refundry_{table}_deleted", f"refundry_{table}_copied"
        yield _function(deleted, path, _unless(_archived(table, empty), said, "OLD"))
        yield _function(copied, path, _unless(_stands(table, empty), _ONLY_COPIES, "NEW"))
        if table == "events":
            yield "DROP TRIGGER events_append_only ON events"
            yield _for_each("ROW", "events_append_only", "UPDATE ON events", "refundry_append_only")
        yield _for_each("ROW", f"{table}_no_delete", f"DELETE ON {table}", deleted)
        name = f"archived_{table}"
        yield _for_each("ROW", f"{name}_copies", f"INSERT ON {name}", copied)
    yield _for_each("STATEMENT", "attempts_no_truncate", "TRUNCATE ON attempts",
                    "refundry_archive_only_added")  # fmt: skip
    yield _let_go(path)
    yield "REVOKE ALL ON FUNCTION refundry_let_go(bigint[]) FROM PUBLIC"
    for name in _OLDER:
        yield f"ALTER FUNCTION refundry_{name}() {path}"


def _unless(condition: str, said: str, row: str) -> str:
    return f"IF NOT {condition} THEN RAISE EXCEPTION '{said}'; END IF; RETURN {row};"


def _function(name: str, path: str, body: str) -> str:
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {path} "
        f"AS $$ BEGIN {body} END $$"
    )


def _for_each(what: str, name: str, when: str, function: str) -> str:
    return f"CREATE TRIGGER {name} BEFORE {when} FOR EACH {what} EXECUTE FUNCTION {function}()"


def _let_go(path: str) -> str:
    """No role may delete; whoever may call this has deleted what the archive has, and no more."""
    deletes = " ".join(
        f"DELETE FROM {table} o USING archived_{table} a WHERE a.refund_id = ANY (ids)"
        f" AND o.refund_id = a.refund_id AND o.{key} = a.{key};"
        for table, key in (("events", "seq"), ("attempts", "number"))
    )
    return (
        "CREATE FUNCTION refundry_let_go(ids bigint[]) RETURNS void LANGUAGE plpgsql "
        f"SECURITY DEFINER {path} AS $$ BEGIN {deletes} END $$"
    )


def create_archive_guards(dialect: str, schema: str) -> list[str]:
    """The statements that create the triggers, for ``postgresql`` (in its schema) or ``sqlite``."""
    return list(_postgresql(schema) if dialect == "postgresql" else _sqlite())
