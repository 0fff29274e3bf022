"""What is around the service's real steps: network, clock and provider, in a test's hands."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn, cast

import pytest
from sqlalchemy import Connection, func, select, text

from config.accounts import Account
from tests.integration.book import QUESTION, Book, BookProvider, Fate, Nature
from tests.integration.builders import NOW, NOWHERE, Shop, shop_account
from tests.integration.puppets import ON_STAGE, Broken, Point, Puppet, PuppetLocks
from worker.access_tokens import Tokens
from worker.errors import NoAnswer, Unreached
from worker.ledger.engine import FixedClock, Ledger
from worker.ledger.orders import ensure_account, get_order
from worker.ledger.refunds import find_refund, get_attempt
from worker.ledger.tables import ASKABLE, refunds
from worker.providers.http import Answer, Call, Wire, always
from worker.rate_limits import RateLimits
from worker.refund import Outcome, Verdict
from worker.runtime import Line, Runtime
from worker.steps import submit as submit_step
from worker.steps.poll import Claimed

#: What is paid for an order, in fen.
PAID: Final = 100
#: Workers that may stop; one more never does, and does what the sweep finds.
WORKERS: Final = 3
#: Nothing asks for it: no account has a rate limit or needs a token.
NO_REDIS: Final = "redis://127.0.0.1:9/0"


@dataclass(kw_only=True, eq=False)
class Copy:
    """A request on its way."""

    number: str
    order: str
    amount: int
    #: The network has made it of another one.
    repeat: bool = False
    #: When it has arrived, if it ever does; None: at any time.
    arrives_by: datetime | None = None
    #: What the provider said, once it has arrived.
    answer: Verdict | None = None


class Ground(Wire):
    """The network, the clock and the provider's book, below the steps of one account."""

    def __init__(self, ledger: Ledger, nature: Nature, *, bounded: bool, **settings: Any) -> None:
        self.nature, self.bounded = nature, bounded
        self.account = shop_account("shop", NOWHERE, **settings)
        self.book = Book(nature=nature, paid=PAID, on_execution=self._executed)
        self.locks = PuppetLocks()
        self.puppets = [Puppet(number) for number in range(WORKERS + 1)]
        self.shop = _shop(ledger, self.account, self)
        self.runtime = self.shop.runtime
        self.copies: list[Copy] = []
        self.questions: list[Claimed] = []
        self.replies: list[tuple[Claimed, Outcome]] = []
        self.holds: dict[str, str] = {}
        self.resubmitted: dict[str, int] = {}
        #: What the provider has told of against its own book.
        self.taken_back: set[str] = set()
        self.story: list[str] = []
        self._reply: Verdict | None = None
        self._patches = pytest.MonkeyPatch()
        self._patches.setattr(submit_step, "suspended_clock", self.seconds)

    def close(self) -> None:
        """End what is under way, and the ledger."""
        self._patches.undo()
        for puppet in self.puppets:
            if puppet.at is not Point.ENDED:
                puppet.crash()
        self.runtime.askers.shutdown()
        self.runtime.couriers.close()
        self.runtime.ledger.engine.dispose()

    @property
    def may_repeat(self) -> bool:
        """Whether a request that arrives twice is executed once, as long as nobody asks again."""
        return self.nature.deduplicates and not self.nature.takes_declined

    @property
    def notifies(self) -> bool:
        return self.account.notify_url is not None

    @property
    def now(self) -> datetime:
        return self.shop.clock.now

    def seconds(self) -> float:
        """The sender's clock."""
        return (self.now - NOW).total_seconds()

    def say(self, words: str) -> None:
        self.story.append(words)

    def fail(self, words: str) -> NoReturn:
        said = "\n".join([words, *self.story])
        raise AssertionError(said) if ON_STAGE.get(None) is None else Broken(said)

    def is_paused(self) -> bool:
        return self.shop.value("SELECT paused_at FROM accounts") is not None

    def step(self, puppet: Puppet, *, cut: bool = False) -> None:
        puppet.go_on(cut=cut)
        what = f"{puppet.at} {puppet.number}" if puppet.at is not Point.ENDED else "ended"
        self.say(f"worker {puppet.name}: {'cut off, ' if cut else ''}{what}")

    # What the network, the provider and the clock do.

    def post(
        self,
        call: Call,
        gate: Callable[[], None] = always,
        allows: Callable[[str], bool] = lambda _: True,
    ) -> Answer:
        if call.url == QUESTION:
            return self._reply_to(call.body.decode())
        number, order, amount = json.loads(call.body)
        puppet = ON_STAGE.get()
        if puppet.stop(Point.CLAIMED, number):
            raise Unreached("nobody there")
        gate()
        self._first_byte_may_go(number)
        if puppet.stop(Point.LET_THROUGH, number):
            raise NoAnswer("cut off before the provider had it")
        copy = self._send(number, order, amount)
        if puppet.stop(Point.SENT, number) or copy.answer is None:
            raise NoAnswer("no answer")
        return Answer(status=200, body=copy.answer.encode())

    def _reply_to(self, number: str) -> Answer:
        verdict = self._reply or self.book.question(number)
        if verdict is Verdict.UNKNOWN:
            raise NoAnswer("no reply")
        return Answer(status=200, body=verdict.encode())

    def _send(self, number: str, order: str, amount: int) -> Copy:
        account = self.account
        most = timedelta(seconds=account.total_timeout_s + account.provider_delay_s)
        by = self.now + most if self.bounded else None
        copy = Copy(number=number, order=order, amount=amount, arrives_by=by)
        self.copies.append(copy)
        return copy

    def repeat(self, copy: Copy) -> None:
        self.say(f"the network repeats the request of {copy.number}")
        self.copies.append(replace(copy, repeat=True))

    def arrive(self, copy: Copy, fate: Fate) -> None:
        self.copies.remove(copy)
        copy.answer = self.book.receive(copy.number, copy.order, copy.amount, fate)
        self.say(f"the provider has {copy.number}: {copy.answer}")

    def lose(self, copy: Copy) -> None:
        self.copies.remove(copy)
        self.say(f"the request of {copy.number} is lost")

    def settle(self, number: str, *, well: bool) -> None:
        self.say(f"the provider {'executes' if well else 'declines'} {number}")
        self.book.settle(number, well=well)

    def wait(self, seconds: float, fate: Fate | None = None) -> None:
        """Time passes; what should have arrived by then does so with this fate, or never."""
        then = self.now + timedelta(seconds=seconds)
        for puppet in self.puppets:
            if self.bounded and puppet.at is Point.LET_THROUGH:
                self.step(puppet)
        for copy in list(self.copies):
            if copy.arrives_by is not None and copy.arrives_by <= then:
                self.lose(copy) if fate is None else self.arrive(copy, fate)
        self.say(f"{seconds:g} s pass")
        self.shop.clock.now = then

    def wait_until_due(self) -> None:
        """Until somebody may be asked about; what should have arrived by then is lost."""
        with self.runtime.ledger.read() as connection:
            due = next_question_due(connection)
        if due is not None and due > self.now:
            self.wait((due - self.now).total_seconds())

    # What is looked at while it happens.

    def _first_byte_may_go(self, number: str) -> None:
        """What T1 has written down and T2 has asked about is so when the first byte leaves."""
        with self.runtime.ledger.read() as connection:
            refund = find_refund(connection, "shop", number)
            if refund is None:
                self.fail(f"{number} is sent, and nobody has asked for it")
            order = get_order(connection, refund.order_id)
            if refund.state != "submitting":
                self.fail(f"{number} is sent and is {refund.state}: no intent is written down")
            attempt = get_attempt(connection, refund.id, refund.standing.attempt)
        age_s = (self.now - attempt.started_at).total_seconds()
        if attempt.status != "started" or age_s > self.account.send_deadline_s:
            self.fail(f"{number} is sent {age_s} s after its intent, which is {attempt.status}")
        if order.stopped or self.is_paused():
            self.fail(f"{number} is sent though its account or its order is stopped")

    def _executed(self, number: str) -> None:
        state = self.shop.state(number)
        if self.book.executed(number) > 1:
            self.fail(f"I1: {number} was executed twice")
        if state in ("failed", "canceled"):
            self.fail(f"I4: {number} is {state} and was executed")


def next_question_due(connection: Connection) -> datetime | None:
    """When the next refund is due that may be asked about."""
    due = select(func.min(refunds.c.due_at)).where(text(ASKABLE))
    return cast(datetime | None, connection.execute(due).scalar_one())


def _shop(ledger: Ledger, account: Account, world: Ground) -> Shop:
    line = Line(account.model_copy(update={"notify_url": None}))  # its provider does not notify
    line.wire.close()
    line.account, line.provider, line.wire = account, BookProvider(world.nature), world
    clock = FixedClock(NOW)
    timed = Ledger(ledger.engine, clock)
    with timed.write() as connection:
        ensure_account(connection, "shop", account.provider, "shop")
    runtime = Runtime(
        ledger=timed,
        lines={"shop": line},
        locks=world.locks,
        limits=RateLimits(NO_REDIS),
        tokens=Tokens(NO_REDIS),
        askers=ThreadPoolExecutor(1),
    )
    return Shop(runtime=runtime, clock=clock)
