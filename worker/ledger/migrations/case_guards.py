"""The triggers of people's work: entries are only added, and nobody settles a refund alone."""

from collections.abc import Iterator
from typing import Final

#: Of these, rows are only added.
_ADDED: Final = ("case_entries", "approvals")
#: What of a proposal never changes, and that it is closed once.
_PROPOSED: Final = (
    "id", "case_id", "refund_id", "state", "event_seq", "evidence", "proposed_by", "proposed_at",
)  # fmt: skip
_CHANGED: Final = "OLD.closed_at IS NOT NULL OR " + " OR ".join(
    f"OLD.{column} <> NEW.{column}" for column in _PROPOSED
)
#: Nothing but people's word brings these about.
_BY_PEOPLE: Final = (
    "(OLD.state = 'failed' AND NEW.state = 'succeeded')"
    " OR (OLD.state <> 'reversed' AND NEW.state = 'reversed')"
)
_TWO: Final = "a settlement needs the approval of a second person"
_TWO_SEND: Final = "a large refund is sent with the approval of a second person"


def _approved(refund_id: str, event_seq: str) -> str:
    """Two persons have settled that refund as it stood after that event."""
    return (
        "EXISTS (SELECT 1 FROM proposals p JOIN approvals a ON a.proposal_id = p.id"
        f" WHERE p.refund_id = {refund_id} AND p.event_seq = {event_seq} AND p.state = NEW.state)"
    )


#: A large refund goes on, or is not large any more.
_SENT: Final = (
    "(OLD.needs_approval AND NOT NEW.needs_approval) OR (OLD.state <> 'submitting'"
    " AND NEW.state = 'submitting' AND NEW.needs_approval)"
)
_SENDING: Final = (
    "EXISTS (SELECT 1 FROM proposals p JOIN approvals a ON a.proposal_id = p.id"
    " WHERE p.refund_id = NEW.id AND p.state = 'submitting')"
)
_EVENT: Final = _approved("NEW.refund_id", "NEW.seq - 1")
_REFUND: Final = _approved("NEW.id", "OLD.event_seq")


def _sqlite() -> Iterator[str]:
    for table in _ADDED:
        for action in ("UPDATE", "DELETE"):
            name, said = f"{table}_no_{action.lower()}", f"{table} are only added"
            yield _raises(name, f"{action} ON {table}", said)
    yield _raises("proposals_no_delete", "DELETE ON proposals", "a proposal is never deleted")
    changed = f"UPDATE ON proposals WHEN {_CHANGED}"
    yield _raises("proposals_as_proposed", changed, "a proposal is only closed, once")
    event = f"INSERT ON events WHEN NEW.kind = 'settled' AND NOT {_EVENT}"
    yield _raises("events_settled_by_two", event, _TWO)
    refund = f"UPDATE OF state ON refunds WHEN ({_BY_PEOPLE}) AND NOT {_REFUND}"
    yield _raises("refunds_settled_by_two", refund, _TWO)
    sent = f"UPDATE OF state, needs_approval ON refunds WHEN ({_SENT}) AND NOT {_SENDING}"
    yield _raises("refunds_sent_by_two", sent, _TWO_SEND)


def _raises(name: str, when: str, said: str) -> str:
    return f"CREATE TRIGGER {name} BEFORE {when} BEGIN SELECT RAISE(ABORT, '{said}'); END"


def _postgresql() -> Iterator[str]:
    yield _function("refundry_only_added", "RAISE EXCEPTION '% are only added', TG_TABLE_NAME;")
    for table in _ADDED:
        yield _trigger(f"{table}_only_added", f"UPDATE OR DELETE ON {table}", "refundry_only_added")
        yield (
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refundry_only_added()"
        )
    yield _function("refundry_as_proposed", "RAISE EXCEPTION 'a proposal is only closed, once';")
    yield _trigger("proposals_no_delete", "DELETE ON proposals", "refundry_as_proposed")
    changed = "UPDATE ON proposals"
    yield _trigger("proposals_as_proposed", changed, "refundry_as_proposed", _CHANGED)
    sent = "UPDATE OF state, needs_approval ON refunds"
    for name, when, condition, approved, said in (
        ("events_settled", "INSERT ON events", "NEW.kind = 'settled'", _EVENT, _TWO),
        ("refunds_settled", "UPDATE OF state ON refunds", _BY_PEOPLE, _REFUND, _TWO),
        ("refunds_sent", sent, _SENT, _SENDING, _TWO_SEND),
    ):
        checked = f"IF NOT {approved} THEN RAISE EXCEPTION '{said}'; END IF; RETURN NEW;"
        yield _function(f"refundry_{name}_by_two", checked)
        yield _trigger(f"{name}_by_two", when, f"refundry_{name}_by_two", condition)


def _function(name: str, body: str) -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"


def _trigger(name: str, when: str, function: str, condition: str = "TRUE") -> str:
    return (
        f"CREATE TRIGGER {name} BEFORE {when} FOR EACH ROW WHEN ({condition}) "
        f"EXECUTE FUNCTION {function}()"
    )


def create_case_guards(dialect: str) -> list[str]:
    """The statements that create the triggers, for ``postgresql`` or ``sqlite``."""
    return list(_postgresql() if dialect == "postgresql" else _sqlite())
