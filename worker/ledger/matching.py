"""Queries that hold a bill's lines beside the ledger's refunds; each by an index, in chunks."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, func, select, text, update

from refundry import State
from refundry.fields import SHANGHAI
from worker.ledger.statement_tables import UNDONE, statement_lines
from worker.ledger.tables import orders, refunds
from worker.ledger.types import is_one_of
from worker.ledger.writes import update_row
from worker.refund import ASKED_ABOUT
from worker.statements.judging import Beside, Ours, Result
from worker.statements.reading import StatementLine

#: No file has a line of a higher number.
LAST: Final = 2**62


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptLine:
    """A line of a bill as it is kept, with the refund that it was found to be of."""

    line: StatementLine
    result: str
    refund_id: int | None
    result_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A refund beside a line, and when its provider was asked last."""

    ours: Ours
    asked_at: datetime | None


def undone_lines(
    connection: Connection,
    statement_id: int,
    result: Result,
    after: int,
    limit: int,
    upto: int = LAST,
) -> list[KeptLine]:
    """Lines of that result after a line, and up to another one, in their order."""
    lines = _undone(statement_id, result, after).order_by(statement_lines.c.number)
    lines = lines.where(statement_lines.c.number <= upto)
    return [_kept_of(row) for row in connection.execute(lines.limit(limit))]


def last_of_next(
    connection: Connection, statement_id: int, result: Result, after: int, limit: int
) -> int | None:
    """Number of the last of the next lines of that result; None where there are none."""
    lines = _undone(statement_id, result, after).with_only_columns(statement_lines.c.number)
    chunk = lines.order_by(statement_lines.c.number).limit(limit).subquery()
    found: int | None = connection.execute(select(func.max(chunk.c.number))).scalar_one()
    return found


def _undone(statement_id: int, result: Result, after: int) -> Select[Any]:
    lines = statement_lines.c
    return select(statement_lines).where(
        lines.statement_id == statement_id,
        text(UNDONE),
        lines.result == result,
        lines.number > after,
    )


def _kept_of(row: Any) -> KeptLine:
    kept = row._mapping
    line = StatementLine(**{name: kept[name] for name in StatementLine.__slots__})
    return KeptLine(line=line, result=row.result, refund_id=row.refund_id, result_at=row.result_at)


_LINK: Final = (
    update(statement_lines)
    .where(
        statement_lines.c.statement_id == bindparam("of_statement"),
        statement_lines.c.number > bindparam("after"),
        statement_lines.c.number <= bindparam("upto"),
        statement_lines.c.result == Result.NEW,
        statement_lines.c.refund_no != "",
        refunds.c.merchant == bindparam("of_merchant"),
        refunds.c.refund_no == statement_lines.c.refund_no,
    )
    .values(result=Result.LINKED, refund_id=refunds.c.id, result_at=bindparam("at"))
)


def link_by_number(
    connection: Connection, statement_id: int, merchant: str, after: int, upto: int, now: datetime
) -> None:
    """Find the refunds of the new lines between two that have a number of the merchant's.

    One statement for all of them: nothing of them is read into this process.
    """
    place = {"of_statement": statement_id, "after": after, "upto": upto}
    connection.execute(_LINK, place | {"of_merchant": merchant, "at": now})


def link_line(
    connection: Connection, statement_id: int, number: int, refund_id: int, now: datetime
) -> None:
    """Write down which refund a line is of."""
    key = {"statement_id": statement_id, "number": number}
    values = {"result": Result.LINKED, "result_at": now, "refund_id": refund_id}
    update_row(connection, statement_lines, key, values)


_WRITE: Final = (
    update(statement_lines)
    .where(
        statement_lines.c.statement_id == bindparam("of_statement"),
        is_one_of(statement_lines.c.number, "numbers"),
    )
    .values(result=bindparam("becomes"), result_at=bindparam("at"))
)


def write_result(
    connection: Connection, statement_id: int, numbers: Collection[int], result: str, now: datetime
) -> None:
    """Write down what has become of lines: the same of all of them."""
    given = {"of_statement": statement_id, "numbers": list(numbers), "becomes": result, "at": now}
    connection.execute(_WRITE, given)


_OURS: Final = (
    select(
        refunds.c.id,
        refunds.c.order_id,
        refunds.c.account,
        refunds.c.refund_no,
        refunds.c.provider_refund_no,
        orders.c.order_no,
        refunds.c.amount,
        refunds.c.state,
        refunds.c.sent,
        refunds.c.accepted_at,
        refunds.c.state_at,
        refunds.c.asked_at,
    )
    .join(orders, orders.c.id == refunds.c.order_id)
    .order_by(refunds.c.id)
)
_MERCHANT: Final = refunds.c.merchant == bindparam("of_merchant")
_BY_NUMBER: Final = _OURS.where(_MERCHANT, is_one_of(refunds.c.refund_no, "numbers"))
_BY_PROVIDER_NO: Final = _OURS.where(
    _MERCHANT,
    refunds.c.provider_refund_no.is_not(None),
    is_one_of(refunds.c.provider_refund_no, "numbers"),
)
_BY_ORDER: Final = _OURS.where(
    orders.c.merchant == bindparam("of_merchant"), is_one_of(orders.c.order_no, "numbers")
)
_BY_ID: Final = _OURS.where(is_one_of(refunds.c.id, "ids"))
_ORDERS: Final = select(orders.c.order_no, orders.c.id).where(
    orders.c.merchant == bindparam("of_merchant"), is_one_of(orders.c.order_no, "numbers")
)


def _compared_of(row: Any) -> Compared:
    ours = Ours(
        id=row.id,
        order_id=row.order_id,
        account=row.account,
        refund_no=row.refund_no,
        provider_refund_no=row.provider_refund_no,
        order_no=row.order_no,
        amount=row.amount,
        state=State(row.state),
        sent=row.sent,
        first_day=row.accepted_at.astimezone(SHANGHAI).date(),
        state_day=row.state_at.astimezone(SHANGHAI).date(),
    )
    return Compared(ours=ours, asked_at=row.asked_at)


def refunds_numbered(
    connection: Connection, merchant: str, numbers: Collection[str]
) -> dict[str, int]:
    """Ids of the merchant's refunds by their numbers."""
    given = {"of_merchant": merchant, "numbers": sorted(numbers)}
    return {row.refund_no: row.id for row in connection.execute(_BY_NUMBER, given)}


def refunds_numbered_by_provider(
    connection: Connection, merchant: str, numbers: Collection[str]
) -> dict[str, int]:
    """The same by the provider's numbers; one that several refunds have names none."""
    found: dict[str, list[int]] = {}
    given = {"of_merchant": merchant, "numbers": sorted(numbers)}
    for row in connection.execute(_BY_PROVIDER_NO, given):
        found.setdefault(row.provider_refund_no, []).append(row.id)
    return {number: ids[0] for number, ids in found.items() if len(ids) == 1}


def refunds_of_orders(
    connection: Connection, merchant: str, order_nos: Collection[str]
) -> dict[str, list[Ours]]:
    """The refunds of the merchant's orders, by the orders' numbers."""
    found: dict[str, list[Ours]] = {}
    given = {"of_merchant": merchant, "numbers": sorted(order_nos)}
    for row in connection.execute(_BY_ORDER, given):
        found.setdefault(row.order_no, []).append(_compared_of(row).ours)
    return found


def known_orders(
    connection: Connection, merchant: str, order_nos: Collection[str]
) -> dict[str, int]:
    """Ids of those of the orders that the ledger has."""
    given = {"of_merchant": merchant, "numbers": sorted(order_nos)}
    return {row.order_no: row.id for row in connection.execute(_ORDERS, given)}


def refunds_beside(connection: Connection, ids: Collection[int]) -> dict[int, Compared]:
    """Refunds by their ids."""
    rows = connection.execute(_BY_ID, {"ids": sorted(ids)})
    return {row.id: _compared_of(row) for row in rows}


_LISTED: Final = (
    select(statement_lines.c.refund_id, statement_lines.c.number, statement_lines.c.succeeded)
    .where(
        statement_lines.c.refund_id.is_not(None),
        is_one_of(statement_lines.c.refund_id, "ids"),
        statement_lines.c.statement_id == bindparam("of_statement"),
    )
    .order_by(statement_lines.c.number)
)


def listed_in(
    connection: Connection, statement_id: int, ids: Collection[int]
) -> dict[int, list[tuple[int, bool]]]:
    """Of each of the refunds, the bill's lines: number, and whether it was paid."""
    found: dict[int, list[tuple[int, bool]]] = {}
    given = {"of_statement": statement_id, "ids": sorted(ids)}
    for row in connection.execute(_LISTED, given):
        found.setdefault(row.refund_id, []).append((row.number, row.succeeded))
    return found


def beside(listed: Sequence[tuple[int, bool]], number: int) -> Beside:
    """What the other lines of a line's refund say."""
    paid = [other for other, succeeded in listed if succeeded and other != number]
    return Beside(paid=bool(paid), paid_before=any(other < number for other in paid))


_ASK: Final = (
    update(refunds)
    .where(
        is_one_of(refunds.c.id, "ids"),
        refunds.c.state.in_(ASKED_ABOUT),
        (refunds.c.due_at.is_(None)) | (refunds.c.due_at > bindparam("at")),
    )
    .values(due_at=bindparam("at"))
)


def ask_now(connection: Connection, ids: Collection[int], now: datetime) -> None:
    """Make refunds due that a provider can be asked about and that are not due yet."""
    if ids:
        connection.execute(_ASK, {"ids": sorted(ids), "at": now})
