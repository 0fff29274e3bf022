"""Inspect: an order's figures beside the provider's, and the order held against the promises."""

from collections import Counter
from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Connection

from worker.audit import Finding, audit_order
from worker.errors import NoAnswer, NotSent, Refused
from worker.ledger.differences import Difference, keep_differences
from worker.ledger.orders import lock_order
from worker.ledger.reconciliations import Run, kept_figures
from worker.ledger.whole import stopped_accounts, whole_orders_of
from worker.refund import Case
from worker.runtime import Line, Runtime
from worker.steps.differ import digest_of
from worker.steps.figures import Compared, asks_figures, compare_figures, compare_kept


def compare_orders(
    runtime: Runtime, line: Line, run: Run, orders: dict[int, str]
) -> dict[str, int] | None:
    """Compare the orders' figures where the provider has them; None: its rate limit is used up.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    if not asks_figures(line):
        return _compare_kept(runtime, line, run, orders)
    counts = {"figures": 0, "figures_unanswered": 0, Case.FIGURES_DIFFER.value: 0, "cases": 0}
    for order_id, order_no in orders.items():
        try:
            compared = _asked(runtime, line, order_no)
        except Refused as refused:
            if refused.code == "rate_limit":
                return None
            continue
        except (NotSent, NoAnswer):
            counts["figures_unanswered"] += 1
            continue
        if compared is None:
            continue
        counts["figures"] += 1
        if not compared.agree:
            found = _differs(line, run, order_id, order_no, compared)
            counts[Case.FIGURES_DIFFER] += 1
            counts["cases"] += _keep(runtime, [found])
    return counts


def _asked(runtime: Runtime, line: Line, order_no: str) -> Compared | None:
    """Both sides' figures; None where ours move while the provider answers."""
    compared = compare_figures(runtime, line.account.name, order_no)
    if compared.agree:
        return compared
    again = compare_figures(runtime, line.account.name, order_no)
    return again if again.ours == compared.ours else None


def _compare_kept(
    runtime: Runtime, line: Line, run: Run, orders: Collection[int]
) -> dict[str, int]:
    """The figures that answers have left, where they are newer than our latest change."""
    answered = timedelta(seconds=line.account.total_timeout_s)
    with runtime.ledger.read() as connection:
        kept = kept_figures(connection, orders)
    newer = [
        (order, compare_kept(line, order))
        for order, changed_at in kept
        if order.figures_at is not None and order.figures_at >= changed_at + answered
    ]
    found = [
        _differs(line, run, order.id, order.order_no, compared)
        for order, compared in newer
        if not compared.agree
    ]
    differ = {Case.FIGURES_DIFFER.value: len(found), "cases": _keep(runtime, found)}
    return {"figures": len(newer)} | differ


def _keep(runtime: Runtime, found: list[Difference]) -> int:
    if not found:
        return 0
    with runtime.ledger.write() as connection:
        return keep_differences(connection, found, runtime.ledger.now(connection))


def _differs(line: Line, run: Run, order_id: int, order_no: str, compared: Compared) -> Difference:
    ours, theirs = compared.ours, compared.theirs
    return Difference(
        account=run.account,
        merchant=line.provider.merchant,
        kind=Case.FIGURES_DIFFER,
        digest=digest_of(
            "figures", order_id, ours.refunded, ours.left, theirs.refunded, theirs.left
        ),
        subject=f"order {order_no}",
        evidence={
            "ours": {"refunded": ours.refunded, "left": ours.left},
            "theirs": {"refunded": theirs.refunded, "left": theirs.left},
            "under_way": compared.under_way,
            "at": compared.at.isoformat(),
        },
        order_id=order_id,
        run_id=run.id,
    )


def audit_orders(
    runtime: Runtime, line: Line, run: Run, orders: dict[int, str]
) -> dict[str, int] | None:
    """Hold the orders against the promises; a breach is looked at again with the order locked.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.read() as connection:
        suspect = {order_id for order_id, _ in _breaches(runtime, connection, orders)}
    counts = Counter({"audited": len(orders), Case.BREACHED.value: 0, "cases": 0})
    for order_id in suspect:
        counts.update(_keep_breaches(runtime, line, run, order_id))
    return counts


def _breaches(
    runtime: Runtime, connection: Connection, order_ids: Collection[int]
) -> list[tuple[int, Finding]]:
    """The orders that break a promise, and how; a warning is no breach."""
    now = runtime.ledger.now(connection)
    stopped = stopped_accounts(connection, now)
    return [
        (whole.order.id, found)
        for whole in whole_orders_of(connection, order_ids)
        for found in audit_order(whole, stopped, now)
        if not found.warning
    ]


def _keep_breaches(runtime: Runtime, line: Line, run: Run, order_id: int) -> dict[str, int]:
    with runtime.ledger.write() as connection:
        lock_order(connection, order_id)
        now = runtime.ledger.now(connection)
        found = _breaches(runtime, connection, [order_id])
        breaches = [_breach(line, run, order_id, one) for _, one in found]
        opened = keep_differences(connection, breaches, now)
    return {Case.BREACHED.value: len(breaches), "cases": opened}


def _breach(line: Line, run: Run, order_id: int, found: Finding) -> Difference:
    return Difference(
        account=run.account,
        merchant=line.provider.merchant,
        kind=Case.BREACHED,
        digest=digest_of("breached", found.promise, found.row, found.said),
        subject=f"{found.promise} {found.row}",
        evidence={"promise": found.promise, "row": found.row, "said": found.said},
        order_id=order_id,
        run_id=run.id,
    )
