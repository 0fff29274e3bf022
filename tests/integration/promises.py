"""What must hold at every moment of a world: the ledger against itself, and against the book."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from refundry import State
from tests.integration.book import Fate
from tests.integration.ground import PAID, WORKERS
from tests.integration.puppets import Point
from tests.integration.world import World
from worker.audit import audit_order
from worker.ledger.whole import WholeRefund, next_whole_orders, stopped_accounts
from worker.refund import FINAL, Verdict

NEVER_EXECUTED = (State.FAILED, State.CANCELED)


def breaches(world: World) -> Iterator[str]:
    """What does not hold now."""
    with world.runtime.ledger.read() as connection:
        stopped = stopped_accounts(connection, world.now)
        orders = next_whole_orders(connection, 0)
    told = announced(world)
    for order in orders:
        for found in audit_order(order, stopped, world.now):
            if not found.warning:
                yield f"{found.promise}: {found.row} {found.said}"
        for refund in order.refunds:
            yield from of_refund(world, refund, told)
    for name in {page.order for page in world.book.pages.values()} | {
        copy.order for copy in world.copies
    }:
        yield from of_order(world, name)


def of_order(world: World, order: str) -> Iterator[str]:
    """The provider's book, and what is on its way to it, of one order."""
    book, copies = world.book, [copy for copy in world.copies if copy.order == order]
    under_way = {copy.number: copy.amount for copy in copies if book.is_new(copy.number)}
    processing = [no for no in book.processing() if book.pages[no].order == order]
    under_way |= {no: book.pages[no].amount for no in processing}
    most = book.executed_of(order) + sum(under_way.values())
    if most > PAID:
        yield f"I2: of order {order}, {most} fen are executed or on their way of {PAID} paid"
    lets_go = world.account.serialisation == "until_accepted"
    live = {no for no in under_way if not (lets_go and no in processing)}
    if len(live) > 1:
        yield f"I3: {', '.join(sorted(live))} are at the provider at once"
    sent = [copy.number for copy in copies if not copy.repeat]
    if world.bounded and len(set(sent)) < len(sent):
        yield f"I3: two requests of one number are on their way: {sent}"


def of_refund(world: World, refund: WholeRefund, told: dict[tuple[str, str], int]) -> Iterator[str]:
    """A refund's row, its events and its announcements against the book."""
    number, state = refund.row["refund_no"], refund.row["state"]
    executed = world.book.executed(number)
    if executed > 1:
        yield f"I1: {number} was executed {executed} times"
    if state in NEVER_EXECUTED and executed:
        yield f"I4: {number} is {state} and was executed"
    if state == State.SUCCEEDED and not executed:
        yield f"I6: {number} is succeeded and was not executed"
    contradicted = any(case["kind"] == "contradicted" for case in refund.cases)
    if contradicted and number not in world.taken_back:
        yield f"I8: {number} is contradicted by a provider that is honest"
    changes = [(a, b) for a, b in pairwise(refund.events) if a["state"] != b["state"]]
    anew = [b["kind"] for a, b in changes if a["state"] in FINAL]
    if anew != ["resubmitted"] * world.resubmitted.get(number, 0):
        yield f"I8: {number} left a final state by {', '.join(anew)}"
    finals = sum(b["state"] in FINAL for _, b in changes)
    if told.get((number, "accepted")) != 1 or told.get((number, "final"), 0) != finals:
        yield f"{number} was final {finals} times; announced: {told}"


def announced(world: World) -> dict[tuple[str, str], int]:
    """How often each event of each refund is to be told, or was."""
    rows = world.shop.rows(
        "SELECT r.refund_no, a.event, count(*) AS times FROM announcements a"
        " JOIN refunds r ON r.id = a.refund_id GROUP BY r.refund_no, a.event"
    )
    return {(row.refund_no, row.event): row.times for row in rows}


def unsettled(world: World) -> list[str]:
    """Refunds that are neither final, as the book says, nor in an open case."""
    rows = world.shop.rows(
        "SELECT refund_no, state, (SELECT count(*) FROM cases c WHERE c.refund_id = r.id"
        " AND c.closed_at IS NULL) AS cases FROM refunds r"
    )
    return [row.refund_no for row in rows if not (_is_owned(row) or _is_settled(world, row))]


def _is_owned(row: Any) -> bool:
    """Nobody is at work on it any more, and it is in an open case."""
    return bool(row.cases) and row.state != State.SUBMITTING


def _is_settled(world: World, row: Any) -> bool:
    if row.state not in FINAL:
        return False
    return (world.book.executed(row.refund_no) == 1) is (row.state == State.SUCCEEDED)


def check(world: World) -> None:
    """Nothing is broken now."""
    for breach in breaches(world):
        world.fail(breach)


def run_dry(world: World) -> None:
    """Nothing goes wrong any more and time passes: everything ends, or somebody owns it (I9)."""
    world.say("from here on nothing goes wrong")
    for worker in world.at_work():
        world.go(worker, "", Point.ENDED)
    world.expire_locks()
    if world.is_paused():
        world.resume()
    for order in list(world.holds):
        world.release(order)
    for wait_s in [61.0] * 3 + [330.0] * 8 + [8 * 3600.0] * 4 + [4 * 86_400.0] * 2:
        _go_round(world)
        check(world)
        if not unsettled(world):
            break
        world.wait(wait_s, Fate.EXECUTED)
    if unsettled(world):
        world.fail(f"I9: {', '.join(unsettled(world))} did not end, and nobody owns it")


def take_back(world: World) -> None:
    """The provider is not honest in the end: of what failed it tells that it was executed (I8)."""
    for number in world.numbers(State.FAILED) if world.notifies else ():
        world.taken_back.add(number)
        world.tell(number, Verdict.SUCCEEDED, stale=False)
        check(world)
        if world.shop.state(number) != State.FAILED:
            world.fail(f"I8: {number} was failed and is {world.shop.state(number)}")


def _go_round(world: World) -> None:
    """A tick of everything."""
    for order in world.sweep():
        world.go(WORKERS, order, Point.ENDED)
    for number in world.book.processing():
        world.settle(number, well=True)
    for number, verdict in list(world.book.told):
        if world.notifies and verdict is world.book.question(number):
            world.tell(number, verdict, stale=False)
    if world.account.query:
        world.poll()
