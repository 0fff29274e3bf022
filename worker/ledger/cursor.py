"""psycopg's cursor, which describes a result's columns only when somebody looks.

SQLAlchemy asks every result for its columns, and remembers those of a statement that it has
compiled: it looks at them once, and then only whether there are any. A refund's row has more than
thirty, and to describe them takes longer than to read the row.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from psycopg import Column, Cursor


class Columns(Sequence[Column]):
    """The columns of a result that is still the cursor's."""

    def __init__(self, count: int, describe: Callable[[], list[Column] | None]) -> None:
        self._count, self._describe = count, describe

    @cached_property
    def _described(self) -> list[Column]:
        return self._describe() or []

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        return self._described[place]


class SparingCursor(Cursor[Any]):
    """A cursor for SQLAlchemy's engine."""

    @property
    def description(self) -> Columns | None:  # type: ignore[override]  # PEP 249: any sequence
        result = self.pgresult
        if result is None or not result.nfields:
            return None
        return Columns(result.nfields, lambda: super(SparingCursor, self).description)
