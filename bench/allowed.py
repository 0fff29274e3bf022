"""How much work one refund may make, each kind with its reason: one table for test and page."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bench.installation import ACCEPTED, FAST


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """How the refunds come that are counted."""

    per_order: int
    #: Its producer is told of acceptance and end by a task.
    told: bool
    #: Lines of the account.
    settings: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """The most of one kind of work, a refund, in each scenario: hundredths are rounded up."""

    alone: float
    four: float
    told: float
    why: str


SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {
        "alone": Scenario(per_order=1, told=False, settings=FAST),
        "four": Scenario(per_order=4, told=False, settings=ACCEPTED),
        "told": Scenario(per_order=1, told=True, settings=FAST),
    }
)

#: Of one refund at a time, so that nobody shares a transaction: under load a process' threads do,
#: and each makes less. What happens once a tick, or a claim, is shared by what is due at once.
ALLOWED: Final[Mapping[str, Allowed]] = MappingProxyType(
    {
        "commit": Allowed(3.04, 3.04, 3.13, "acceptance with the intent; outcome; answer"),
        "message announcement": Allowed(0, 0, 2, "accepted, and the end"),
        "message refunds.poll": Allowed(0.02, 0.02, 0.02, "one for all that are due at once"),
        "message refunds.request": Allowed(1, 1, 1, "the producer's job"),
        "redis LPUSH": Allowed(0.02, 0.02, 2.02, "publishes a message"),
        "sql insert announcements": Allowed(0, 0, 2, "in the transaction that makes it true"),
        "sql insert attempts": Allowed(1, 1, 1, "the intent, before anything is sent"),
        "sql insert events": Allowed(3, 3, 3, "one a commit; acceptance and intent go together"),
        "sql insert orders": Allowed(1, 0.25, 1, "where it is not there yet"),
        "sql insert refunds": Allowed(1, 1, 1, "the acceptance"),
        "sql lock announcements": Allowed(0, 0, 0.07, "a tick's claim"),
        "sql lock orders": Allowed(
            3, 3, 3, "whatever changes a refund holds its order: that keeps the cap and the turn"
        ),
        "sql lock refunds": Allowed(0.04, 0.04, 0.04, "a tick's claim"),
        "sql read accounts": Allowed(0.04, 0.04, 0.04, "a tick's look whether something is due"),
        "sql read refunds": Allowed(
            4.05,
            4.8,
            4.05,
            "is the number known; is the order busy; last check; outcome; answer",
        ),
        "sql read the time": Allowed(
            1.04,
            1.04,
            1.13,
            "the clock with the account's guards, later with what is read; how a claim finds rows",
        ),
        "sql update announcements": Allowed(0, 0, 0.1, "a tick's claim, and what was delivered"),
        "sql update attempts": Allowed(1, 1, 1, "the outcome"),
        "sql update orders": Allowed(1, 2.75, 1, "reserved; when to look again; refunded"),
        "sql update refunds": Allowed(3.02, 3.02, 3.02, "submitting; pending; succeeded"),
    }
)
