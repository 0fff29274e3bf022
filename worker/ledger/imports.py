"""Queries on imports; those on their rows are in :mod:`worker.ledger.import_rows`."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select, update

from worker.importing.words import ImportState, Terms, Unit
from worker.ledger.tables import imports
from worker.ledger.types import insert_into


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """A file of refunds that was given to be imported; amounts in fen."""

    id: int
    digest: str
    name: str
    account: str | None
    unit: Unit
    budget: int | None
    spent: int
    canary: int
    canary_passed: bool
    state: ImportState
    reason: str
    row_count: int
    created_at: datetime
    state_at: datetime

    @property
    def terms(self) -> Terms:
        """How it was asked for."""
        return Terms(account=self.account, unit=self.unit, budget=self.budget, canary=self.canary)


_NAMES: Final = tuple(field.name for field in fields(Import))


def import_of(row: Any) -> Import:
    """An import from a row that has all its columns."""
    values = {name: row._mapping[name] for name in _NAMES}
    return Import(**values | {"state": ImportState(row.state), "unit": Unit(row.unit)})


def begin_import(
    connection: Connection, digest: str, name: str, terms: Terms, now: datetime
) -> None:
    """Note an import, unless there is one of the same file."""
    connection.execute(
        insert_into(connection, imports)
        .values(
            digest=digest,
            name=name,
            account=terms.account,
            unit=terms.unit,
            budget=terms.budget,
            canary=terms.canary,
            canary_passed=not terms.canary,
            state=ImportState.LOADING,
            created_at=now,
            state_at=now,
        )
        .on_conflict_do_nothing(index_elements=["digest"])
    )


def import_of_file(connection: Connection, digest: str) -> Import:
    """The import of a file; it must be there."""
    row = connection.execute(select(imports).where(imports.c.digest == digest)).one()
    return import_of(row)


def find_import(connection: Connection, import_id: int, *, lock: bool = False) -> Import | None:
    """The import of that number; what runs of it do is done one after the other by its lock."""
    found = select(imports).where(imports.c.id == import_id)
    row = connection.execute(found.with_for_update() if lock else found).first()
    return import_of(row) if row else None


def latest_imports(connection: Connection, limit: int) -> list[Import]:
    """The imports, the latest first."""
    rows = connection.execute(select(imports).order_by(imports.c.id.desc()).limit(limit))
    return [import_of(row) for row in rows]


def update_import(connection: Connection, import_id: int, **values: Any) -> None:
    """Write columns of an import that is locked."""
    connection.execute(update(imports).where(imports.c.id == import_id).values(values))
