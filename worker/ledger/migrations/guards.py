"""The ledger's triggers: events are only appended, a refund changes state as the table says."""

from collections.abc import Iterable, Iterator


def _legal_transitions(pairs: Iterable[tuple[str, str]]) -> str:
    return " OR ".join(
        f"(OLD.state = '{before}' AND NEW.state = '{after}')" for before, after in pairs
    )


def _sqlite(legal: str) -> Iterator[str]:
    for action in ("UPDATE", "DELETE"):
        yield (
            f"CREATE TRIGGER events_no_{action.lower()} BEFORE {action} ON events BEGIN "
            "SELECT RAISE(ABORT, 'events are only appended'); END"
        )
    yield _sqlite_transitions(legal)
    yield (
        "CREATE TRIGGER refunds_begin_queued BEFORE INSERT ON refunds "
        "WHEN NEW.state <> 'queued' BEGIN "
        "SELECT RAISE(ABORT, 'illegal transition of a refund'); END"
    )


def _sqlite_transitions(legal: str) -> str:
    return (
        "CREATE TRIGGER refunds_legal_transition BEFORE UPDATE OF state ON refunds "
        f"WHEN OLD.state <> NEW.state AND NOT ({legal}) BEGIN "
        "SELECT RAISE(ABORT, 'illegal transition of a refund'); END"
    )


def _postgresql(legal: str) -> Iterator[str]:
    yield (
        "CREATE FUNCTION refundry_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'events are only appended'; END $$"
    )
    yield (
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events "
        "FOR EACH ROW EXECUTE FUNCTION refundry_append_only()"
    )
    yield (
        "CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION refundry_append_only()"
    )
    yield (
        "CREATE FUNCTION refundry_illegal_transition() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION 'illegal transition of a refund to %', NEW.state; END $$"
    )
    yield _postgresql_transitions(legal)
    yield (
        "CREATE TRIGGER refunds_begin_queued BEFORE INSERT ON refunds FOR EACH ROW "
        "WHEN (NEW.state <> 'queued') EXECUTE FUNCTION refundry_illegal_transition()"
    )


def _postgresql_transitions(legal: str) -> str:
    return (
        "CREATE TRIGGER refunds_legal_transition BEFORE UPDATE OF state ON refunds FOR EACH ROW "
        f"WHEN (OLD.state <> NEW.state AND NOT ({legal})) "
        "EXECUTE FUNCTION refundry_illegal_transition()"
    )


def create_guards(dialect: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The statements that create the triggers, for ``postgresql`` or ``sqlite``.

    ``pairs`` are the legal changes of a refund's state, before and after.
    """
    legal = _legal_transitions(pairs)
    return list(_postgresql(legal) if dialect == "postgresql" else _sqlite(legal))


def replace_transition_guard(dialect: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The statements after which other changes of a refund's state are legal."""
    legal = _legal_transitions(pairs)
    if dialect == "postgresql":
        return ["DROP TRIGGER refunds_legal_transition ON refunds", _postgresql_transitions(legal)]
    return ["DROP TRIGGER refunds_legal_transition", _sqlite_transitions(legal)]
