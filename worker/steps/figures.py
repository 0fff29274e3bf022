"""An order's figures: what the provider says of the whole order, beside what the ledger says."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.errors import Refused
from worker.ledger.orders import find_order, keep_figures, lock_order
from worker.ledger.refunds import latest_refund
from worker.ledger.rows import Order
from worker.providers.base import Balances
from worker.refund import Figures
from worker.runtime import Line, Runtime
from worker.steps.submit import facts_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """Both sides' figures of one order, in fen."""

    ours: Figures
    theirs: Figures
    #: Reserved by us: what the provider may have counted already, or not yet.
    under_way: int
    #: When the provider said so.
    at: datetime

    @property
    def agree(self) -> bool:
        """Whether every figure that both have is explained by what is under way."""
        pairs = (
            (self.ours.refunded, self.theirs.refunded),
            (self.ours.left, self.theirs.left),
        )
        return all(
            theirs is None or (ours is not None and ours <= theirs <= ours + self.under_way)
            for ours, theirs in pairs
        )


def compare_figures(runtime: Runtime, account: str, order_no: str) -> Compared:
    """The figures of both sides, asked for where the provider can be asked.

    Raises:
        Refused: no such order, nothing known of it, or the account's rate limit is used up.
        NotSent, NoAnswer: the provider was asked and gave no trustworthy answer.
        ServiceAway: the ledger does not answer.
    """
    theirs = ask_figures(runtime, account, order_no)
    line = runtime.line(account)
    with runtime.ledger.read() as connection:
        order = _find(connection, line, account, order_no)
    return _compared(line, order, theirs)


def compare_kept(line: Line, order: Order) -> Compared:
    """The figures of both sides, as the provider's answers have left them."""
    kept = Figures(refunded=order.provider_refunded, left=order.provider_left)
    return _compared(line, order, kept)


def asks_figures(line: Line) -> bool:
    """Whether the provider is asked for an order's figures."""
    return isinstance(line.provider, Balances) and line.account.query


def _compared(line: Line, order: Order, theirs: Figures) -> Compared:
    marketing = line.markets is not None
    under_way = order.reserved + (order.marketing_reserved if marketing else 0)
    at = order.figures_at or order.created_at
    return Compared(ours=_ours(order, marketing), theirs=theirs, under_way=under_way, at=at)


def ask_figures(runtime: Runtime, account: str, order_no: str) -> Figures:
    """Ask the provider for an order's figures and keep them; else those that answers have left.

    Raises:
        Refused: no such order, nothing known of it, or the account's rate limit is used up.
        NotSent, NoAnswer: the provider was asked and gave no trustworthy answer.
        ServiceAway: the ledger does not answer.
    """
    line = runtime.line(account)
    provider = line.provider
    with runtime.ledger.read() as connection:
        order = _find(connection, line, account, order_no)
        facts = facts_of(order, latest_refund(connection, order.id))
        asked_at = runtime.ledger.now(connection)
    if not isinstance(provider, Balances) or not asks_figures(line):
        return _kept(order, line)
    if not runtime.limits.take_up_to(line.account, 1):
        raise Refused("rate_limit", f"account {account!r} has asked its most for now; try later")
    figures = provider.read_balance(facts, line.wire.post(provider.balance_question(facts)))
    _keep(runtime, order.id, figures, asked_at)
    return figures


def _find(connection: Connection, line: Line, account: str, order_no: str) -> Order:
    order = find_order(connection, line.provider.merchant, order_no)
    if order is None:
        raise Refused("not_found", f"account {account!r} has no order {order_no!r}")
    return order


def _kept(order: Order, line: Line) -> Figures:
    if order.figures_at is None:
        raise Refused(
            "no_figures",
            f"{line.account.provider} is not asked for an order's figures, and none of its answers "
            f"has had any of order {order.order_no!r}",
        )
    return Figures(refunded=order.provider_refunded, left=order.provider_left)


def _keep(runtime: Runtime, order_id: int, figures: Figures, asked_at: datetime) -> None:
    """Unless an answer that came meanwhile, to a later question, has left newer ones."""
    with runtime.ledger.write() as connection:
        order = lock_order(connection, order_id)
        if order.figures_at is not None and order.figures_at > asked_at:
            return
        keep_figures(connection, order_id, figures, asked_at)


def _ours(order: Order, marketing: bool) -> Figures:
    """In the provider's unit: of the order's total where marketing may bear a part, else of what
    was paid."""
    if marketing:
        refunded = order.refunded_before + order.refunded + order.marketing_refunded
        return Figures(refunded=refunded, left=order.order_amount - order.total_spoken_for)
    refunded = order.refunded_before + order.refunded
    return Figures(refunded=refunded, left=order.paid_amount - order.spoken_for)
