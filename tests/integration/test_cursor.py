"""Results have the columns that psycopg says, and are described once a statement."""

from typing import Any

import psycopg
import pytest
from sqlalchemy import literal, make_url, select

from worker.ledger.cursor import SparingCursor
from worker.ledger.engine import Ledger
from worker.ledger.tables import refunds


@pytest.mark.parametrize(
    "statement",
    ["SELECT 1 AS a, 'b' AS b", "SELECT * FROM refunds", "SELECT", "SET LOCAL timezone = 'UTC'"],
)
def test_a_result_has_the_columns_that_psycopg_says(postgres_url: str, statement: str) -> None:
    url = make_url(postgres_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        connection.execute("CREATE TEMP TABLE refunds (id bigint, amount bigint, note text)")
        plain = connection.execute(statement).description
        sparing = SparingCursor(connection).execute(statement).description
        assert [tuple(one) for one in sparing or ()] == [tuple(one) for one in plain or ()]
        assert bool(sparing) == bool(plain)


def test_sqlalchemy_looks_at_a_statements_columns_once(
    postgres_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[SparingCursor] = []
    plain = psycopg.Cursor.description

    def describe(of: SparingCursor) -> Any:
        described.append(of)
        return plain.__get__(of)

    monkeypatch.setattr(psycopg.Cursor, "description", property(describe))
    statement = select(refunds, literal(1).label("of_this_test"))
    with postgres_ledger.read() as connection:
        for _ in range(3):
            columns = connection.execute(statement).keys()
            assert list(columns) == [*refunds.c.keys(), "of_this_test"]
    assert len(described) == 1
