"""The service's real steps; the network, the clock and the provider are in a test's hands."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event

from tests.integration.book import Fate, Nature
from tests.integration.builders import SOMEBODY
from tests.integration.ground import PAID, Ground
from tests.integration.puppets import Point, Puppet
from worker.errors import Refused
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.refund import Outcome, Verdict
from worker.steps import submit as submit_step
from worker.steps.command import cancel_refund, pause, resubmit_refund, resume
from worker.steps.holds import hold_order, release_order
from worker.steps.notify import take_notification
from worker.steps.poll import Claimed, _claim, apply, ask
from worker.steps.sweep import sweep

#: Where the network can fail a worker.
CAN_BE_CUT: Final = (Point.CLAIMED, Point.LET_THROUGH, Point.SENT)
TOLD: Final = {"task": "shop.told"}


class World(Ground):
    """What producers, people and workers do on it."""

    # What producers and operators do.

    def request(self, number: str, amount: int) -> None:
        """Intake: anything from new over repeated to conflicting."""
        order = number[0]
        job = {"order_no": order, "refund_no": number, "amount": amount, "announce": TOLD}
        taken = self.shop.take(order_amount=PAID, **job)
        became = "refused" if taken is None else "repeated" if taken.repeated else "accepted"
        self.say(f"{number} of {amount} fen is {became}")

    def command(self, words: str, step: Callable[[], object]) -> bool:
        """A command, which may be refused."""
        try:
            step()
        except Refused as refused:
            self.say(f"{words}: refused ({refused.code})")
            return False
        self.say(words)
        return True

    def cancel(self, number: str) -> None:
        self.command(f"cancel {number}", lambda: cancel_refund(self.runtime, "shop", number))

    def resubmit(self, number: str) -> None:
        rows = self.shop.rows("SELECT attempt FROM refunds WHERE refund_no = :no", no=number)
        attempt = rows[0].attempt if rows else 1
        if self.command(
            f"resubmit {number} after attempt {attempt}",
            lambda: resubmit_refund(self.runtime, "shop", number, attempt),
        ):
            self.resubmitted[number] = self.resubmitted.get(number, 0) + 1

    def hold(self, order: str) -> None:
        def step() -> None:
            self.holds[order] = hold_order(self.runtime, "shop", order)

        self.command(f"hold order {order}", step)

    def release(self, order: str) -> None:
        token = self.holds.pop(order, "")
        self.command(
            f"release order {order}", lambda: release_order(self.runtime, "shop", order, token)
        )

    def pause(self) -> None:
        self.command("pause", lambda: pause(self.runtime.ledger, "shop", SOMEBODY))

    def resume(self) -> None:
        self.command("resume", lambda: resume(self.runtime.ledger, "shop", SOMEBODY))

    # What workers do.

    def orders(self) -> list[str]:
        return [row.order_no for row in self.shop.rows("SELECT order_no FROM orders ORDER BY id")]

    def numbers(self, state: str) -> list[str]:
        """The refunds in this state."""
        sql = "SELECT refund_no FROM refunds WHERE state = :state ORDER BY id"
        return [row.refund_no for row in self.shop.rows(sql, state=state)]

    def go(self, worker: int, order: str, until: Point, fate: Fate = Fate.EXECUTED) -> None:
        """A worker works, on the order if it has none, until it is there, or has ended.

        A request that it sends on its way there is answered at once.
        """
        puppet = self.puppets[worker]
        if puppet.at is Point.ENDED:
            order_id = self.shop.value("SELECT id FROM orders WHERE order_no = :no", no=order)
            self.say(f"worker {worker} takes a message of order {order}")
            puppet.start(lambda: submit_step.submit(self.runtime, order_id))
        else:
            self.step(puppet)
        while puppet.at not in (Point.ENDED, until):
            if puppet.at is Point.SENT:
                self._answer(puppet, fate)
            self.step(puppet)

    def _answer(self, puppet: Puppet, fate: Fate) -> None:
        for copy in [one for one in self.copies if one.number == puppet.number][-1:]:
            self.arrive(copy, fate)

    def at_work(self) -> list[int]:
        """The workers that have stopped somewhere."""
        return [puppet.name for puppet in self.puppets if puppet.at is not Point.ENDED]

    def end(self, worker: int, end: str, fate: Fate) -> None:
        """What becomes of a worker that has stopped: it may be cut off, or die.

        "After all": when the provider has what was sent.
        """
        puppet = self.puppets[worker]
        if end.endswith("after all") and puppet.at is Point.SENT:
            self._answer(puppet, fate)
        if end.startswith("is cut off") and puppet.at in CAN_BE_CUT:
            self.step(puppet, cut=True)
            self.go(worker, "", Point.ENDED, fate)
        if end.startswith("dies") and puppet.at is not Point.ENDED:
            self.say(f"worker {worker} dies, {puppet.at} {puppet.number}")
            puppet.crash()
            self.expire_locks()

    def expire_locks(self) -> None:
        self.say("every lock of an order expires")
        self.locks.held.clear()

    def claim_questions(self) -> None:
        claimed = _claim(self.runtime, self.runtime.lines["shop"], 8)
        self.questions += claimed
        self.say(f"claimed for questions: {[one.refund.refund_no for one in claimed]}")

    def ask(self, claimed: Claimed, reply: Verdict | None) -> None:
        """A question is asked; a reply that is given replaces the book's, UNKNOWN: it is lost."""
        self._reply = reply
        outcome = ask(self.runtime, claimed)
        self.replies.append((claimed, outcome))
        lie = " (which is not so)" if reply else ""
        self.say(f"asked about {claimed.refund.refund_no}: {outcome.verdict}{lie}")

    def apply(self, claimed: Claimed, outcome: Outcome) -> None:
        self.say(f"the reply counts: {claimed.refund.refund_no} {outcome.verdict}")
        apply(self.runtime, claimed, outcome)

    def poll(self, reply: Verdict | None = None) -> None:
        """Claim, ask and apply, in one go."""
        self.claim_questions()
        while self.questions:
            self.ask(self.questions.pop(), reply)
            self.apply(*self.replies.pop())

    def sweep(self) -> list[str]:
        """The orders that it wakes."""
        swept = sweep(self.runtime)
        rows = self.shop.rows("SELECT id, order_no FROM orders")
        wake = [row.order_no for row in rows if row.id in swept.wake]
        self.say(f"sweep: {swept.reaped} reaped, {swept.aged} aged, wakes {wake}")
        return wake

    def tell(self, number: str, verdict: Verdict, *, stale: bool) -> None:
        """The provider says by itself what is, or was once, in its book."""
        body = json.dumps([number, verdict, stale]).encode()
        self.say(f"told of {number}: {verdict}{', stale' if stale else ''}")
        assert take_notification(self.runtime, "shop", "application/json", body).accepted


class Worlds:
    """Makes worlds, each with a ledger of its own on SQLite."""

    def __init__(self, template: Path, folder: Path) -> None:
        self._template, self._folder, self._numbers = template, folder, count()

    @contextmanager
    def open(self, nature: Nature, *, bounded: bool = True, **settings: Any) -> Iterator[World]:
        path = self._folder / f"{next(self._numbers)}.sqlite"
        engine = create_ledger_engine(f"sqlite:///{shutil.copy(self._template, path)}")
        event.listen(engine, "connect", _write_without_waiting)
        world = World(Ledger(engine), nature, bounded=bounded, **settings)
        try:
            yield world
        finally:
            world.close()
            for one in self._folder.glob(f"{path.name}*"):
                one.unlink()


def _write_without_waiting(connection: Any, _: Any) -> None:
    """No test pulls the plug of the machine."""
    connection.execute("PRAGMA synchronous=OFF")
