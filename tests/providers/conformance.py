"""What every provider module has to do right: its subjects, and how one exchange is judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.providers.harness import OWN_OPTIONS, account, facts, read_both
from tests.simulator.harness import Sim
from worker.errors import NoAnswer
from worker.providers.base import Provider, RefundFacts, load_provider
from worker.providers.http import Answer, Wire
from worker.refund import Outcome, Verdict

#: No provider's window has passed since.
PAID_AT: Final = datetime.now(UTC) - timedelta(days=1)
#: Waits for an answer that will come, and for one that will not.
PATIENT: Final = {"connect_timeout_s": 5.0, "read_timeout_s": 10.0, "total_timeout_s": 10.0}
IMPATIENT: Final = {"connect_timeout_s": 5.0, "read_timeout_s": 0.4, "total_timeout_s": 0.6}
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
    #: The module's own settings, beside those of the harness.
    options: tuple[tuple[str, Any], ...] = ()

    def connect(self, sim: Sim, **waits: Any) -> Connected:
        settings = account(self.name, sim.url + self.prefix, **dict(self.options), **waits)
        return Connected(self, load_provider(settings), Wire(settings))


#: A further provider is one line here (and its own settings in the harness).
SUBJECTS: Final = [
    Subject(name="quickpay", prefix="/qp"),
    Subject(name="hkrt", prefix="/hk"),
    Subject(name="baofu", prefix="/bf/api", synchronous=False),
]
assert {subject.name for subject in SUBJECTS} == set(OWN_OPTIONS)


@dataclass(frozen=True)
class Connected:
    """A provider module and the wire to the simulator."""

    subject: Subject
    provider: Provider
    wire: Wire

    def submit(self, refund: RefundFacts) -> Outcome | None:
        """What a submission shows; None where there was no answer."""
        call = self.provider.submission(refund)
        try:
            return self.provider.read_submission(refund, self.wire.post(call))
        except NoAnswer:
            return None

    def ask(self, refund: RefundFacts) -> Outcome | None:
        """What a question shows; None where there was no answer."""
        call = self.provider.question(refund)
        try:
            return self.provider.read_reply(refund, self.wire.post(call))
        except NoAnswer:
            return None

    def both(self, refund: RefundFacts, answer: Answer) -> list[Outcome | None]:
        """What one answer shows, read as that to a submission and to a question."""
        return read_both(self.provider, refund, answer)


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
    expected = {"final": final, "undecided": UNDECIDED, "not found": {Verdict.NOT_FOUND}}
    assert outcome.verdict in expected[judgement]


def knowing(refund: RefundFacts, outcome: Outcome | None) -> RefundFacts:
    """The refund with the provider's own number of it."""
    number = outcome.provider_refund_no if outcome else None
    return replace(refund, provider_refund_no=number)


def refund_of(number: str, **more: Any) -> RefundFacts:
    """A refund of an order of its own, with what any provider finds mandatory."""
    values = {"order_no": f"O{number}", "reason": "七天无理由", "paid_at": PAID_AT} | more
    return facts(refund_no=number, **values)
