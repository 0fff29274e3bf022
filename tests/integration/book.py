"""A provider held in memory: its book, and what it does with a request that reaches it.

It checks nothing for us: what it is sent it executes, so that what goes wrong shows in its book.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from worker.providers.base import Acknowledgement, Notification, RefundFacts, Traits
from worker.providers.http import Answer, Call
from worker.refund import Outcome, Verdict

#: Where a call that asks goes to.
QUESTION: Final = "question"


class Record(StrEnum):
    """What the book says of a number."""

    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"


class Fate(StrEnum):
    """What becomes of a request that the provider takes."""

    EXECUTED = "executed"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    TURNED_AWAY = "turned away"
    SHORT_OF_FUNDS = "short of funds"


@dataclass(frozen=True, kw_only=True, slots=True)
class Nature:
    """What a provider is like."""

    #: A number that is sent twice: its state is said again, it is refused, it is executed again.
    repeated: Literal["replayed", "refused", "executed"] = "refused"
    #: A decline stays on record.
    keeps_declines: bool = True
    #: A number that was declined may be sent again, and is a new request then.
    takes_declined: bool = False
    #: The amount is held against what is left before the number is looked up.
    amount_first: bool = False
    #: No refund of an order is taken while another of it is processed.
    one_at_a_time: bool = True

    @property
    def deduplicates(self) -> bool:
        return self.repeated != "executed"


@dataclass(kw_only=True)
class Page:
    """One number's."""

    order: str
    amount: int
    record: Record | None = None
    executed: int = 0


@dataclass(kw_only=True)
class Book:
    """What the provider has done."""

    nature: Nature
    #: What was paid for each order, in fen.
    paid: int
    #: Told of each execution, before anything else happens.
    on_execution: Callable[[str], None]
    pages: dict[str, Page] = field(default_factory=dict)
    #: What it says, or has said, by itself.
    told: list[tuple[str, Verdict]] = field(default_factory=list)

    def receive(self, number: str, order: str, amount: int, fate: Fate) -> Verdict:
        """A request arrives; what it is answered."""
        page = self.pages.setdefault(number, Page(order=order, amount=amount))
        if self.nature.amount_first and amount > self.paid - self.executed_of(order):
            return Verdict.REJECTED
        if not self.is_new(number):
            return Verdict.EXISTS if self.nature.repeated == "refused" else self.question(number)
        others = [one for one in self.pages.values() if one.order == order and one is not page]
        if self.nature.one_at_a_time and any(one.record is Record.PROCESSING for one in others):
            return Verdict.BUSY
        return self._take(number, page, fate)

    def is_new(self, number: str) -> bool:
        """Whether a request of this number is executed, if the provider likes."""
        page = self.pages.get(number)
        if page is None or page.record is None or self.nature.repeated == "executed":
            return True
        return self.nature.takes_declined and page.record is Record.DECLINED

    def settle(self, number: str, *, well: bool) -> None:
        """What was processed ends."""
        if well:
            self._execute(number)
        else:
            self._write(number, Record.DECLINED)

    def question(self, number: str) -> Verdict:
        """What the book says of a number."""
        page = self.pages.get(number)
        return {
            None: Verdict.NOT_FOUND,
            Record.PROCESSING: Verdict.PENDING,
            Record.SUCCEEDED: Verdict.SUCCEEDED,
            Record.DECLINED: Verdict.REJECTED,
        }[page.record if page else None]

    def executed(self, number: str) -> int:
        """How often."""
        return self.pages[number].executed if number in self.pages else 0

    def executed_of(self, order: str) -> int:
        """How much of an order, in fen."""
        return sum(one.executed * one.amount for one in self.pages.values() if one.order == order)

    def processing(self) -> list[str]:
        return [no for no, page in self.pages.items() if page.record is Record.PROCESSING]

    def _take(self, number: str, page: Page, fate: Fate) -> Verdict:
        if fate is Fate.TURNED_AWAY:
            return Verdict.BUSY
        if fate is Fate.SHORT_OF_FUNDS:
            return Verdict.FUNDS
        if fate is Fate.DECLINED and page.record in (None, Record.DECLINED):
            if self.nature.keeps_declines:
                self._write(number, Record.DECLINED)
            else:
                page.record = None
            return Verdict.REJECTED
        if fate is Fate.ACCEPTED and page.record is not Record.SUCCEEDED:
            self._write(number, Record.PROCESSING)
            return Verdict.PENDING
        self._execute(number)
        return Verdict.SUCCEEDED

    def _execute(self, number: str) -> None:
        self.pages[number].executed += 1
        self._write(number, Record.SUCCEEDED)
        self.on_execution(number)

    def _write(self, number: str, record: Record) -> None:
        self.pages[number].record = record
        if (number, self.question(number)) not in self.told:
            self.told.append((number, self.question(number)))


class BookProvider:
    """What the steps know of the provider whose book a test holds."""

    taken = Acknowledgement(body=b"taken")
    declined = Acknowledgement(body=b"declined")
    merchant = "shop"

    def __init__(self, nature: Nature) -> None:
        self.traits = Traits(
            deduplicates=nature.deduplicates,
            resubmits=nature.takes_declined,
            allows_until_accepted=True,
            watch_days=2,
        )

    def check(self, _: object) -> list[str]:
        return []

    doubts = check

    def submission(self, facts: RefundFacts) -> Call:
        fields = (facts.refund_no, facts.order_no, facts.amount)
        return Call(url="submission", body=json.dumps(fields).encode())

    def question(self, facts: RefundFacts) -> Call:
        return Call(url=QUESTION, body=facts.refund_no.encode())

    def read_submission(self, facts: RefundFacts, answer: Answer) -> Outcome:
        verdict = Verdict(answer.body.decode())
        named = verdict in (Verdict.SUCCEEDED, Verdict.PENDING)
        number = f"P{facts.refund_no}" if named else None
        return Outcome(verdict=verdict, code=verdict, provider_refund_no=number)

    read_reply = read_submission

    def open_notification(self, _: str, body: bytes) -> Notification:
        number, verdict, stale = json.loads(body)
        return Notification(refund_no=number, fields={"verdict": verdict}, stale=stale)

    def read_notification(self, _: RefundFacts, notification: Notification) -> Outcome:
        verdict = Verdict(notification.fields["verdict"])
        return Outcome(verdict=verdict, code=verdict)
