"""What every provider module has to do right: its subjects, and how one exchange is judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from tests.providers.harness import FILES, account, facts
from tests.simulator.harness import Sim
from worker.errors import NoAnswer
from worker.providers.base import Provider, RefundFacts, Tokened, load_provider
from worker.providers.http import Answer, Call, Wire
from worker.refund import Outcome, Verdict

#: No provider's window has passed since.
PAID_AT: Final = datetime.now(UTC) - timedelta(days=1)
#: Waits for an answer that will come, and for one that will not.
PATIENT: Final[dict[str, Any]] = {
    "connect_timeout_s": 5.0,
    "read_timeout_s": 10.0,
    "total_timeout_s": 10.0,
}
IMPATIENT: Final[dict[str, Any]] = {
    "connect_timeout_s": 5.0,
    "read_timeout_s": 0.4,
    "total_timeout_s": 0.6,
}
#: Verdicts after which the refund is asked about, and nothing is final.
UNDECIDED: Final = frozenset({Verdict.UNKNOWN, Verdict.KNOWN})
ACCEPTED: Final = UNDECIDED | {Verdict.PENDING}

#: What has to become of a submission under each fault of the simulator: the answer counts
#: (``final``), is there but decides nothing (``undecided``), or is none (``no answer``).
SUBMIT_FAULTS: Final = {
    "ok": "final",
    "slow:0.1": "final",
    "unknown_code": "undecided",
    "unknown_status": "undecided",
} | dict.fromkeys(
    [
        "timeout_after",
        "timeout_before",
        "late:0.6",
        "drip",
        "drip_headers",
        "reset_after",
        "reset_before",
        "http_500_after",
        "http_500_before",
        "http_404_before",
        "headers_cut",
        "truncated",
        "garbage",
        "oversized",
        "gzip_bomb",
        "redirect",
        "bad_signature",
        "wrong_amount",
        "wrong_number",
        "token_refused",
    ],
    "no answer",
)
#: The same for a question.
QUERY_FAULTS: Final = {
    "ok": "final",
    "slow:0.1": "final",
    "not_found": "not found",
    "unknown_code": "undecided",
} | dict.fromkeys(
    [
        "timeout",
        "reset",
        "http_500",
        "http_404",
        "truncated",
        "garbage",
        "bad_signature",
        "wrong_amount",
        "wrong_number",
    ],
    "no answer",
)
#: Faults that are only over when the client gives up.
SILENT: Final = frozenset({"timeout", "timeout_after", "timeout_before", "late", "drip"}) | {
    "drip_headers"
}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A provider that the suite is run against."""

    name: str
    #: Where the simulator plays it.
    prefix: str
    #: The answer to a submission may be final; else it is an acceptance at most.
    synchronous: bool = True
    #: Settings beside those of the golden file's account.
    options: dict[str, Any] = field(default_factory=dict)
    #: What the numbers of its refunds begin with.
    prefix_no: str = ""
    #: An answer to a submission names neither number nor amount, one to a question no number.
    names_nothing: bool = False
    #: Where its answers are of another kind than the tables say.
    submit_faults: dict[str, str] = field(default_factory=dict)
    query_faults: dict[str, str] = field(default_factory=dict)
    #: The case of the golden file that is the page's own example of a success.
    right: str

    def judgement(self, table: dict[str, str], fault: str) -> str:
        """What has to become of a call under a fault."""
        own = self.submit_faults if table is SUBMIT_FAULTS else self.query_faults
        return own.get(fault, table[fault])

    def connect(self, sim: Sim, **waits: Any) -> Connected:
        settings = account(self.name, sim.url + self.prefix, **self.options, **waits)
        return Connected(self, load_provider(settings), Wire(settings))


#: Each golden file names one.
SUBJECTS: Final = [Subject(name=name, **file["subject"]) for name, file in FILES.items()]


@dataclass
class Connected:
    """A provider module and the wire to the simulator."""

    subject: Subject
    provider: Provider
    wire: Wire

    def submit(self, refund: RefundFacts) -> Outcome | None:
        """What a submission shows; None where there was no answer."""
        try:
            return self.provider.read_submission(
                refund, self.post(self.provider.submission(refund))
            )
        except NoAnswer:
            return None

    def ask(self, refund: RefundFacts) -> Outcome | None:
        """What a question shows; None where there was no answer."""
        try:
            return self.provider.read_reply(refund, self.post(self.provider.question(refund)))
        except NoAnswer:
            return None

    def post(self, call: Call) -> Answer:
        """The answer to a call, which is let in by a token where it needs one."""
        if isinstance(self.provider, Tokened):
            call = self.provider.with_token(call, self.token)
        return self.wire.post(call)

    @cached_property
    def token(self) -> str:
        """One for all calls; it is got with patience, whatever the wire's."""
        assert isinstance(self.provider, Tokened)
        wire = Wire(account(self.subject.name, **PATIENT))
        try:
            return self.provider.read_token(wire.post(self.provider.token_call())).value
        finally:
            wire.close()

    def answers(self, refund: RefundFacts) -> list[Answer]:
        """The answers to a submission and to a question."""
        return [self.post(call) for call in self._calls(refund)]

    def _calls(self, refund: RefundFacts) -> Iterator[Call]:
        yield self.provider.submission(refund)
        yield self.provider.question(refund)

    def read(self, refund: RefundFacts, answers: list[Answer]) -> list[Outcome | None]:
        """What such answers show; None: no answer."""
        readers = (self.provider.read_submission, self.provider.read_reply)
        outcomes: list[Outcome | None] = []
        for read, answer in zip(readers, answers, strict=True):
            try:
                outcomes.append(read(refund, answer))
            except NoAnswer:
                outcomes.append(None)
        return outcomes


@contextmanager
def connected(subject: Subject, sim: Sim, **waits: Any) -> Iterator[Connected]:
    """The subject with its connections, which are closed in the end."""
    there = subject.connect(sim, **(waits or PATIENT))
    try:
        yield there
    finally:
        there.wire.close()


def waits_for(fault: str) -> dict[str, float]:
    """How long to wait under a fault."""
    return IMPATIENT if fault.partition(":")[0] in SILENT else PATIENT


def assert_judged(outcome: Outcome | None, judgement: str, final: frozenset[Verdict]) -> None:
    """Holds an outcome against a table's word."""
    if judgement == "no answer":
        assert outcome is None
        return
    assert outcome is not None
    expected = {
        "final": final,
        "undecided": UNDECIDED,
        "not found": {Verdict.NOT_FOUND},
        "token": {Verdict.TOKEN},
    }
    assert outcome.verdict in expected[judgement]


def knowing(refund: RefundFacts, outcome: Outcome | None) -> RefundFacts:
    """The refund with the provider's own number of it, where an outcome has it."""
    number = outcome.provider_refund_no if outcome else None
    return replace(refund, provider_refund_no=number or refund.provider_refund_no)


def refund_of(number: str, first: str = "", **more: Any) -> RefundFacts:
    """A refund of an order of its own, with what any provider finds mandatory.

    ``first`` is what its numbers have to begin with.
    """
    values = {"order_no": f"{first}O{number}", "reason": "七天无理由", "paid_at": PAID_AT} | more
    return facts(refund_no=f"{first}{number}", **values)
