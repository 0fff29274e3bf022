"""The database is the guard: what no fault in the code above it can write."""

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from refundry import State
from tests.integration.builders import (
    NOW,
    insert,
    raw_attempt,
    raw_event,
    raw_order,
    raw_refund,
)
from worker.ledger.engine import Ledger
from worker.refund import TRANSITIONS

HOLDING = frozenset({State.SUBMITTING, State.UNKNOWN, State.PENDING})
#: A legal way to each state.
WAYS = {
    State.QUEUED: [],
    State.SUBMITTING: [State.SUBMITTING],
    State.UNKNOWN: [State.SUBMITTING, State.UNKNOWN],
    State.PENDING: [State.SUBMITTING, State.PENDING],
    State.SUCCEEDED: [State.SUBMITTING, State.SUCCEEDED],
    State.FAILED: [State.SUBMITTING, State.FAILED],
    State.CANCELED: [State.CANCELED],
    State.REVERSED: [State.SUBMITTING, State.SUCCEEDED, State.REVERSED],
}


#: What people may settle a refund to.
WORDS = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED, State.REVERSED})


def settle_by_two(connection: Connection, refund_id: int, state: State) -> None:
    """The approved proposal of a settlement after the refund's first event."""
    about = {"account": "shop", "refund_id": refund_id, "kind": "aged"}
    closed = {"opened_at": NOW, "due_at": NOW, "closed_at": NOW, "evidence": "{}"}
    insert(connection, "cases", subject="", owner="o", **about, **closed)
    case_id = connection.execute(text("SELECT max(id) FROM cases")).scalar_one()
    proposal = {"case_id": case_id, "refund_id": refund_id, "state": state.value, "event_seq": 1}
    said = {"evidence": "e", "proposed_by": "li", "proposed_at": NOW, "closed_at": NOW}
    insert(connection, "proposals", **proposal, **said)
    number = connection.execute(text("SELECT max(id) FROM proposals")).scalar_one()
    word = {"proposed_by": "li", "approved_by": "wang", "approved_at": NOW, "reason": ""}
    insert(connection, "approvals", proposal_id=number, **word)


@pytest.fixture
def ground(scratch: Connection) -> Connection:
    """An account, an order of 100 fen with 50 reserved, and a queued refund of 10."""
    insert(scratch, "accounts", name="shop", provider="quickpay", merchant="M")
    raw_refund(scratch, 1, raw_order(scratch, 1))
    raw_event(scratch, 1, 1, "queued")
    return scratch


def refuses(connection: Connection, match: str, sql: str) -> None:
    """The database refuses a statement and says why."""
    with pytest.raises(DBAPIError, match=match), connection.begin_nested():
        connection.execute(text(sql))


def allows(connection: Connection, sql: str) -> None:
    """The database takes a statement that is close to a refused one."""
    with connection.begin_nested():
        connection.execute(text(sql))


def move(connection: Connection, refund_id: int, state: State, more: str = "") -> None:
    """Change a refund's state, with all that the state asks for: the word of two persons, too."""
    if state in WORDS:
        settle_by_two(connection, refund_id, state)
    holds = state in HOLDING
    connection.execute(
        text(
            f"UPDATE refunds SET state = '{state}', holds_order = {holds}, attempt = 1, sent = 1,"
            f" open_sent = {int(holds)} {more} WHERE id = {refund_id}"
        )
    )


@pytest.mark.parametrize("column", ["reserved", "refunded", "refunded_before"])
def test_no_order_is_refunded_or_reserved_beyond_what_was_paid(
    column: str, ground: Connection
) -> None:
    rest = 100 if column == "reserved" else 50
    allows(ground, f"UPDATE orders SET {column} = {rest}")
    refuses(ground, "not_over", f"UPDATE orders SET {column} = {rest + 1}")
    refuses(ground, "not_over", f"UPDATE orders SET paid_amount = {rest - 1}")


@pytest.mark.parametrize("column", ["marketing_reserved", "marketing_refunded"])
def test_no_order_is_refunded_or_reserved_beyond_its_total(column: str, ground: Connection) -> None:
    allows(ground, f"UPDATE orders SET paid_amount = 80, {column} = 50")
    refuses(ground, "not_over_total", f"UPDATE orders SET paid_amount = 80, {column} = 51")


@pytest.mark.parametrize(
    ("table", "change", "match"),
    [
        ("orders", "reserved = -1", "no_negative"),
        ("orders", "refunded = -1", "no_negative"),
        ("orders", "refunded_before = -1", "no_negative"),
        ("orders", "excess = -1", "no_negative"),
        ("orders", "paid_amount = 0, reserved = 0", "no_negative"),
        ("orders", "paid_amount = 101", "paid_within_total"),
        ("orders", "hold_token = 'x'", "hold_is_whole"),
        ("orders", "marketing_reserved = -1", "no_negative_marketing"),
        ("orders", "marketing_refunded = -1", "no_negative_marketing"),
        ("refunds", "amount = 0", "ck_refunds_amount|marketing_within_amount"),
        ("refunds", "amount = -1", "ck_refunds_amount|marketing_within_amount"),
        ("refunds", "marketing_amount = -1", "marketing_within_amount"),
        ("refunds", "marketing_amount = 10", "marketing_within_amount"),
        ("refunds", "contested_marketing = 1", "marketing_within_amount"),
        ("refunds", "contested_marketing = -1", "marketing_within_amount"),
        (
            "refunds",
            "marketing_amount = 5, contested_marketing = 5, contested_reserved = 6",
            "marketing_within_amount",
        ),
        ("refunds", "contested_reserved = -1", "contested_within_amount"),
        ("refunds", "contested_excess = -1", "contested_within_amount"),
        ("refunds", "contested_reserved = 5, contested_excess = 6", "within_amount"),
        ("refunds", "sent = 1", "attempts_counted"),
        ("refunds", "attempt = 1, open_sent = 1, holds_order = TRUE", "attempts_counted"),
        ("refunds", "open_sent = -1", "attempts_counted|sent_as_the_state_says"),
        ("refunds", "account = 'nobody'", "(?i)foreign key"),
        ("refunds", "order_id = 99", "(?i)foreign key"),
    ],
)
def test_an_impossible_amount_or_count_is_refused(
    table: str, change: str, match: str, ground: Connection
) -> None:
    refuses(ground, match, f"UPDATE {table} SET {change}")


def test_two_refunds_never_hold_one_order_at_once(ground: Connection) -> None:
    raw_refund(ground, 2, 1)
    raw_refund(ground, 3, raw_order(ground, 2))
    move(ground, 1, State.SUBMITTING)
    said = r"uq_refunds_holds_order|refunds\.order_id"
    with pytest.raises(IntegrityError, match=said), ground.begin_nested():
        move(ground, 2, State.SUBMITTING)
    move(ground, 3, State.SUBMITTING)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("open_sent", [0, 1])
def test_who_holds_an_order_and_has_open_attempts_follows_from_the_state(
    state: State, open_sent: int, ground: Connection
) -> None:
    for step in WAYS[state]:
        move(ground, 1, step)
    counts = f"attempt = 1, sent = 1, open_sent = {open_sent}"
    holds = state in HOLDING or (state is State.QUEUED and open_sent > 0)
    wrong = f"UPDATE refunds SET {counts}, holds_order = {not holds}"
    refuses(ground, "holds_as_the_state_says|sent_as_the_state_says", wrong)
    right = f"UPDATE refunds SET {counts}, holds_order = {holds}"
    never_open = state in (State.FAILED, State.CANCELED)
    if (open_sent == 0 and state in HOLDING) or (open_sent == 1 and never_open):
        refuses(ground, "sent_as_the_state_says", right)
    else:
        allows(ground, right)


def test_a_refund_that_lets_go_on_acceptance_holds_its_order_until_then(
    ground: Connection,
) -> None:
    move(ground, 1, State.SUBMITTING, ", releases = TRUE")
    refuses(ground, "holds_as", "UPDATE refunds SET state = 'pending'")
    allows(ground, "UPDATE refunds SET state = 'pending', holds_order = FALSE")


def test_a_refund_with_an_open_attempt_cannot_be_canceled(ground: Connection) -> None:
    sent = "attempt = 1, sent = 1, open_sent = 1, holds_order = TRUE"
    ground.execute(text(f"UPDATE refunds SET {sent}"))
    canceled = "UPDATE refunds SET state = 'canceled', holds_order = FALSE"
    refuses(ground, "sent_as_the_state_says", canceled)
    allows(ground, f"{canceled}, open_sent = 0")


def test_a_refund_never_has_two_live_attempts(ground: Connection) -> None:
    raw_attempt(ground, 1, 1, "started")
    with pytest.raises(IntegrityError), ground.begin_nested():
        raw_attempt(ground, 1, 2, "started")
    raw_attempt(ground, 1, 2, "unknown")
    refuses(ground, "attempts", "UPDATE attempts SET status = 'started' WHERE number = 2")
    refuses(ground, "ck_attempts_status", "UPDATE attempts SET status = 'lost'")
    with pytest.raises(IntegrityError), ground.begin_nested():
        raw_attempt(ground, 1, 2, "unknown")


def test_a_number_is_used_once_per_merchant(ground: Connection) -> None:
    raw_order(ground, 2)
    with pytest.raises(IntegrityError, match="refund_no"), ground.begin_nested():
        raw_refund(ground, 2, 2, refund_no="R1")
    raw_refund(ground, 2, 2, refund_no="R1", merchant="another")


def test_an_order_is_there_once_per_merchant(ground: Connection) -> None:
    with pytest.raises(IntegrityError, match="order_no"), ground.begin_nested():
        raw_order(ground, 2, order_no="O1")
    raw_order(ground, 2, order_no="O1", merchant="another")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE events SET kind = 'other'",
        "UPDATE events SET detail = '{\"a\": 1}'",
        "UPDATE events SET seq = 2",
        "DELETE FROM events",
    ],
)
def test_an_event_is_never_changed_or_deleted(sql: str, ground: Connection) -> None:
    refuses(ground, "events are only appended", sql)


def test_events_are_never_truncated(postgres_ledger: Ledger) -> None:
    with postgres_ledger.engine.connect() as connection:
        refuses(connection, "events are only appended", "TRUNCATE events CASCADE")


@pytest.mark.parametrize("before", list(State))
def test_a_state_changes_as_the_table_says_and_in_no_other_way(
    before: State, ground: Connection
) -> None:
    for step in WAYS[before]:
        move(ground, 1, step)
    for after in State:
        if after is before or after in TRANSITIONS[before]:
            with ground.begin_nested() as trial:
                move(ground, 1, after)
                trial.rollback()
        else:
            with pytest.raises(DBAPIError, match="illegal transition"), ground.begin_nested():
                move(ground, 1, after)
    refuses(ground, "ck_refunds_state|illegal transition", "UPDATE refunds SET state = 'lost'")


@pytest.mark.parametrize(
    ("before", "after"),
    [(State.FAILED, State.SUCCEEDED), (State.SUCCEEDED, State.REVERSED)],
)
def test_only_two_persons_bring_a_final_refund_to_another_end(
    before: State, after: State, ground: Connection
) -> None:
    for step in WAYS[before]:
        move(ground, 1, step)
    refuses(ground, "second person", f"UPDATE refunds SET state = '{after}'")
    settle_by_two(ground, 1, State.CANCELED)
    refuses(ground, "second person", f"UPDATE refunds SET state = '{after}'")
    settle_by_two(ground, 1, after)
    allows(ground, f"UPDATE refunds SET state = '{after}'")


@pytest.mark.parametrize("state", [state for state in State if state is not State.QUEUED])
def test_a_refund_begins_queued(state: State, ground: Connection) -> None:
    holds = state in HOLDING
    counts = {"attempt": 1, "sent": 1, "open_sent": int(holds), "holds_order": holds}
    with pytest.raises(DBAPIError, match="illegal transition"), ground.begin_nested():
        raw_refund(ground, 2, 1, state=state.value, **counts)


@pytest.mark.parametrize(("seq", "state"), [(None, "queued"), (2, "queued"), (1, "canceled")])
def test_no_state_is_committed_without_its_event(
    seq: int | None, state: str, ledger: Ledger
) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), ledger.write() as connection:
        write_refund(connection, seq, state)
    with ledger.write() as connection:
        write_refund(connection, 1, "queued")
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), ledger.write() as connection:
        move(connection, 1, State.SUBMITTING)
    with ledger.read() as connection:
        assert connection.execute(text("SELECT state FROM refunds")).scalars().all() == ["queued"]


def write_refund(connection: Connection, seq: int | None, state: str) -> None:
    """A queued refund with an event, or with none."""
    insert(connection, "accounts", name="shop", provider="quickpay", merchant="M")
    raw_refund(connection, 1, raw_order(connection, 1))
    if seq is not None:
        raw_event(connection, 1, seq, state)
