"""What a transaction writes together is what it would write row by row."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, select, text

from tests.integration.builders import NOW, raw_order
from tests.integration.conftest import MakeShop
from worker.ledger.engine import Ledger
from worker.ledger.orders import update_order
from worker.ledger.questions import claim_questions
from worker.ledger.tables import orders
from worker.refund import Verdict

ORDERS = 6
#: When whatever is open is due.
LATER = NOW + timedelta(days=1)
TIMES = st.none() | st.integers(-(10**6), 10**6).map(lambda ms: NOW + timedelta(milliseconds=ms))
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3)
CHANGE = st.fixed_dictionaries(
    {},
    optional={
        "wake_at": TIMES,
        "spaced_until": TIMES,
        "excess": st.integers(0, 2**62),
        "paid_stated": st.booleans(),
        "currency": TEXTS,
    },
).filter(bool)


class _UndoneError(Exception):
    """Nothing of what was tried is kept."""


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example is undone
)
@given(changes=st.lists(st.tuples(st.integers(1, ORDERS), CHANGE), min_size=1, max_size=12))
def test_rows_that_are_changed_together_are_changed_as_each_alone(
    ledger: Ledger, changes: list[tuple[int, dict[str, Any]]]
) -> None:
    with suppress(_UndoneError), ledger.write() as connection:
        for number in range(1, ORDERS + 1):
            raw_order(connection, number)
        wanted = _rows(connection)
        for number, change in changes:
            update_order(connection, number, change)
            wanted[number] |= change
        assert _rows(connection) == wanted
        raise _UndoneError


def _rows(connection: Connection) -> dict[int, dict[str, Any]]:
    rows = connection.execute(select(orders))
    return {row.id: dict(row._mapping) for row in rows}


def _plans_of_updates(connection: Connection) -> list[str]:
    """How PostgreSQL finds the rows of each UPDATE that is executed from now on."""
    plans: list[str] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.startswith("UPDATE"):
            plan = cursor.connection.execute(f"EXPLAIN {statement}", parameters)
            plans.append("\n".join(line for (line,) in plan))

    event.listen(connection, "before_cursor_execute", explain)
    return plans


def test_rows_of_a_table_that_is_still_small_are_found_by_its_index(
    postgres_ledger: Ledger,
) -> None:
    """The plan is kept, and would be a scan of the whole table still when that has grown."""
    with postgres_ledger.write() as connection:
        plans = _plans_of_updates(connection)
        for number in (1, 2):
            raw_order(connection, number)
        for number in (1, 2):
            update_order(connection, number, {"wake_at": NOW})
        connection.execute(select(1))
    (plan,) = plans
    assert "Index Scan using pk_orders" in plan
    assert "Seq Scan" not in plan


def test_questions_of_a_table_that_is_still_small_are_claimed_by_its_index(
    postgres_ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(postgres_ledger, shop={})
    for number in (1, 2):
        accepted = shop.accept(order_no=f"O{number}", refund_no=f"R{number}")
        intent = shop.claim(accepted.order_id)
        assert intent is not None
        shop.settle(intent, Verdict.PENDING)
    with postgres_ledger.write() as connection:
        connection.execute(text("ANALYZE refunds"))
        plans = _plans_of_updates(connection)
        assert len(claim_questions(connection, "shop", None, LATER, LATER, 64)) == 2
    (plan,) = plans
    assert "Index Scan" in plan
    assert "Seq Scan" not in plan
