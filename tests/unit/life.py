"""One refund's life against a provider whose book is known: everything that can happen next.

The network delays, loses and repeats; workers die and come late; questions are answered late;
notifications come whenever they like, as often as they like. What the service believes is held
against what the provider has really done.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from refundry import State
from tests.unit.builders import NOW, broken_promises
from worker.decisions import (
    begin,
    cancel,
    decide_answer,
    decide_notification,
    decide_question,
    reap,
    resubmit,
)
from worker.refund import (
    CLOSED,
    FINAL,
    OPEN,
    PENDING,
    SUBMITTING,
    UNKNOWN,
    Attempt,
    Change,
    Notice,
    Outcome,
    Question,
    Rules,
    Standing,
    Verdict,
)

#: What a provider does about a number that is new to it: its answer, and what its book then says.
FATES = {
    "execute": (Verdict.SUCCEEDED, "succeeded"),
    "accept": (Verdict.PENDING, "pending"),
    "decline": (Verdict.REJECTED, "declined"),
}
#: Nothing is done and nothing is booked, whatever was booked before.
TURNED_AWAY = {
    "reject": Verdict.REJECTED,
    "busy": Verdict.BUSY,
    "misconfigured": Verdict.MISCONFIGURED,
    "token": Verdict.TOKEN,
    "funds": Verdict.FUNDS,
}
#: Answers to a submission whose number is in the book already.
REPLAYS = {
    "succeeded": (Verdict.SUCCEEDED, Verdict.EXISTS),
    "pending": (Verdict.PENDING, Verdict.KNOWN, Verdict.EXISTS),
    "declined": (Verdict.REJECTED,),
}
#: Answers to a question.
REPLIES = {
    None: (Verdict.NOT_FOUND,),
    "succeeded": (Verdict.SUCCEEDED,),
    "pending": (Verdict.PENDING, Verdict.KNOWN),
    "declined": (Verdict.REJECTED,),
}
#: What a notification says of what was once so.
NOTICES = {
    "succeeded": Verdict.SUCCEEDED,
    "pending": Verdict.PENDING,
    "declined": Verdict.REJECTED,
}

CLOSING = (
    Verdict.NEVER_SENT,
    Verdict.BUSY,
    Verdict.MISCONFIGURED,
    Verdict.TOKEN,
    Verdict.FUNDS,
    Verdict.REJECTED,
)
#: What attempts that the ledger has lost are numbered from.
LOST = 100
NEVER_EXECUTED = (State.FAILED, State.CANCELED)

Move = tuple[str, Callable[[], None]]


@dataclass(kw_only=True)
class Life:
    """One refund, its attempts, its provider, and whatever goes wrong between them."""

    rules: Rules
    #: A declined number may be submitted anew.
    frees_declined: bool
    # What the service knows.
    standing: Standing = field(default_factory=lambda: Standing(state=State.QUEUED))
    attempts: dict[int, Attempt] = field(default_factory=dict)
    #: Latest attempt began so long ago that nothing of it can still be on its way.
    past_grace: bool = False
    # What is on its way.
    outcomes: dict[int, Verdict] = field(default_factory=dict)
    reply: tuple[Question, Verdict] | None = None
    flying: frozenset[int] = frozenset()
    # What the provider has done.
    record: str | None = None
    executed: int = 0
    #: What it has told, or may still tell, by itself.
    told: frozenset[str] = frozenset()
    #: A backup that the ledger may be restored from, once: what it knew then.
    backup: tuple[Standing, dict[int, Attempt]] | None = None
    #: It was restored, and the refund is not cleared yet.
    restored: bool = False
    #: It was restored, cleared or not.
    lost: bool = False
    #: What the ledger would refuse of the last decision.
    refused: list[str] = field(default_factory=list)

    def moves(self) -> Iterator[Move]:
        """Everything that can happen next."""
        yield from self._commands()
        yield from self._answers()
        yield from self._questions()
        for record in sorted(self.told):
            yield f"hear that it {record}", partial(self._hear_that, NOTICES[record])
        for number in sorted(self.flying):
            yield from self._arrivals(number)
        if self.record == "pending":
            yield "provider executes", partial(self._book, "succeeded")
            yield "provider declines", partial(self._book, "declined")
        if self.standing.state is SUBMITTING:
            yield "outlive the lease", self._reap
        if self.backup is not None:
            yield "restore the backup", self._restore
        if (self.attempts or self.restored) and not self.past_grace:
            yield "let the grace pass", self._let_the_grace_pass

    def broken(self) -> list[str]:
        """What does not hold any more."""
        state = self.standing.state
        still_open = [was for was in self.attempts.values() if was not in CLOSED]
        holds = {
            "a number is executed at most once": self.executed <= 1,
            "what failed was not executed": state not in NEVER_EXECUTED
            or self.executed == 0
            or self.restored  # a resubmission was lost; it is asked about
            or (self.lost and self.standing.contested),
            "what succeeded was executed": state is not State.SUCCEEDED or self.executed == 1,
            "open attempts are counted": state not in OPEN
            or self.standing.open_sent == len(still_open),
        }
        return self.refused + [name for name, kept in holds.items() if not kept]

    def _commands(self) -> Iterator[Move]:
        if self.restored and self.standing.state in (State.QUEUED, State.FAILED):
            return
        if self.standing.state is State.QUEUED:
            yield "send", partial(self._send, leaves=True)
            yield "send nothing", partial(self._send, leaves=False)
        canceled = cancel(self.standing)
        if canceled is not None:
            yield "cancel", partial(self._apply, canceled)
        may = self.standing.state is State.FAILED and not self.standing.contested
        if may and self.rules.deduplicates:
            yield "resubmit", partial(self._apply, resubmit(self.standing))

    def _answers(self) -> Iterator[Move]:
        for number, was in self.attempts.items():
            if number not in self.outcomes:
                yield f"lose answer {number}", partial(self._lose, number)
            else:
                yield f"hear answer {number} ({was})", partial(self._hear, number)

    def _arrivals(self, number: int) -> Iterator[Move]:
        for fate, verdict in TURNED_AWAY.items():
            told = self.told | ({"declined"} if fate in ("reject", "funds") else set())
            yield f"{number}: {fate}", partial(self._turn_away, number, verdict, told)
        new = self.record is None or (self.record == "declined" and self.frees_declined)
        if self.rules.deduplicates and not new:
            for verdict in REPLAYS[str(self.record)]:
                yield f"{number}: {verdict}", partial(self._arrive, number, verdict, self.record)
            return
        for fate, (verdict, record) in FATES.items():
            if self.rules.deduplicates or fate != "accept":  # the other kind is synchronous
                yield f"{number}: {fate}", partial(self._arrive, number, verdict, record, new=True)

    def _questions(self) -> Iterator[Move]:
        """A question is answered now and written down later, or at once."""
        if self.reply is not None:
            yield f"learn {self.reply[1]}", self._learn
        elif self.rules.asks and (
            self.standing.state in {UNKNOWN, PENDING} | FINAL
            or (self.restored and self.standing.state is State.QUEUED)
        ):
            records = {self.record} if self.past_grace else {self.record, None}
            verdicts = {Verdict.UNKNOWN} | {v for record in records for v in REPLIES[record]}
            for verdict in sorted(verdicts):
                yield f"ask, {verdict}", partial(self._ask, verdict)

    def _apply(self, change: Change | None, answered: int | None = None) -> None:
        if change is None:
            return
        self.refused = broken_promises(self.standing, change)
        if change.closes_all:
            for number, was in self.attempts.items():
                self.attempts[number] = was if was in CLOSED else Attempt.REJECTED
        if answered is not None and change.attempt is not None:
            self.attempts[answered] = change.attempt
        self.standing = change.standing
        self.restored = self.restored and not change.clears

    def _send(self, *, leaves: bool) -> None:
        self._apply(begin(self.standing))
        number = self.standing.attempt
        self.attempts[number] = Attempt.STARTED
        self.past_grace = False
        if leaves:
            self.flying |= {number}
        else:
            self.outcomes[number] = Verdict.NEVER_SENT

    def _arrive(
        self, number: int, verdict: Verdict, record: str | None, *, new: bool = False
    ) -> None:
        self.flying -= {number}
        self.record = record
        self.told |= {record} if record else set()
        self.executed += new and record == "succeeded"
        self.outcomes.setdefault(number, verdict)

    def _turn_away(self, number: int, verdict: Verdict, told: frozenset[str]) -> None:
        self._arrive(number, verdict, self.record)
        self.told = told

    def _book(self, record: str) -> None:
        self.record = record
        self.told |= {record}
        self.executed += record == "succeeded"

    def _lose(self, number: int) -> None:
        self.outcomes[number] = Verdict.UNKNOWN

    def _hear(self, number: int) -> None:
        """An answer is written down: at once, late, or a second time."""
        outcome = Outcome(verdict=self.outcomes[number])
        was = self.attempts[number]
        self._apply(decide_answer(self.standing, number, was, outcome, self.rules), number)

    def _hear_that(self, verdict: Verdict) -> None:
        """A notification: of now, long ago, or once more."""
        after_grace = self.past_grace and (self.rules.asks or not self.lost)
        notice = Notice(verdict=verdict, stale=False, after_grace=after_grace)
        self._apply(decide_notification(self.standing, notice, self.rules))

    def _reap(self) -> None:
        self._apply(reap(self.standing), self.standing.attempt)

    def _let_the_grace_pass(self) -> None:
        for number in self.attempts:
            self.outcomes.setdefault(number, Verdict.UNKNOWN)
        self.flying = frozenset()
        self.past_grace = True

    def _restore(self) -> None:
        """What was sent since the backup is on its way still, and nobody here knows of it."""
        assert self.backup is not None
        (self.standing, attempts), self.backup = self.backup, None
        self.attempts, self.outcomes, self.reply = dict(attempts), {}, None
        self.flying = frozenset(LOST + number for number in self.flying)
        self.restored, self.lost, self.past_grace = True, True, False

    def _ask(self, verdict: Verdict) -> None:
        asked = self.standing
        question = Question(
            attempt=asked.attempt,
            state=asked.state,
            after_grace=self.past_grace,
            known=asked.known,
            restored=self.restored,
            lost=self.lost,
        )
        self.reply = question, verdict

    def _learn(self) -> None:
        assert self.reply is not None
        (question, verdict), self.reply = self.reply, None
        outcome = Outcome(verdict=verdict)
        self._apply(decide_question(self.standing, question, outcome, self.rules, NOW))
