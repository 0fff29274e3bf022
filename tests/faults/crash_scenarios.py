"""The stories that are crashed at every point, for every kind of provider.

Each has steps that lead to it, and steps that are cut. A step is the name of a method of
:class:`tests.faults.crash_child.Work` and its arguments; ``{1}`` and ``{2}`` are the refunds.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from tests.providers.harness import FILES, OWN_OPTIONS

#: The queue of the producer's task that is told.
TOLD: Final = "told"

Step = tuple[str, dict[str, Any]]
#: Nothing here waits for them, but whoever asks for a token while a dead worker has its lock.
TIMES: Final = {
    "connect_timeout_s": 3.0,
    "read_timeout_s": 6.0,
    "total_timeout_s": 8.0,
    "send_deadline_s": 2.0,
}
PROVIDERS: Final = tuple(FILES)
#: The steps by which a refund is asked for.
ASKING: Final = ("request", "post")
#: Providers that tell by themselves what has become of a refund, and how it is brought about.
NOTIFYING: Final[dict[str, dict[str, Any]]] = {
    "hkrt": {"fate": "pending:99", "settle_s": 0.02},
    "baofu": {"fate": "pending:99", "settle_s": 0.02},
    "guanaitong": {"submit": ["reset_after"]},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """A story."""

    name: str
    #: What has happened before.
    before: tuple[Step, ...] = ()
    #: What is cut.
    cut: tuple[Step, ...]
    #: Beginnings of effects that must be seen, and how often at least.
    sees: dict[str, int] = field(default_factory=dict)
    #: What the simulator does to the first refund.
    plan: dict[str, Any] = field(default_factory=dict)
    #: The account's settings.
    account: dict[str, Any] = field(default_factory=dict)
    #: The worker that comes before ends at the first effect that begins so.
    dies_at: str = ""
    #: Whether its producer is told by URL.
    by_url: bool = False
    #: Whether the provider tells by itself, and what it told is cut.
    told: bool = False
    #: Whether a definite answer lets the first refund be sent again.
    resends: bool = False
    #: Whether a worker may be late by more than a lease; an announcement would come once more.
    may_pause: bool = True
    #: Whether no worker has an access token yet, where the provider asks for one.
    cold: bool = False

    def __str__(self) -> str:
        return self.name


def _request(number: int) -> Step:
    """By a task, which sends at once."""
    return "request", {"refund_no": f"{{{number}}}"}


def _post(number: int) -> Step:
    """By the gateway, which leaves sending to a worker."""
    return "post", {"refund_no": f"{{{number}}}"}


def _submit(number: int = 1) -> Step:
    return "submit", {"refund_no": f"{{{number}}}"}


def _wait(seconds: float) -> Step:
    return "wait", {"seconds": seconds}


POLL: Final[Step] = ("poll", {})
SWEEP: Final[Step] = ("sweep", {})
LOOK: Final[Step] = ("look", {})
ANNOUNCE: Final[Step] = ("announce", {})
ARCHIVE: Final[Step] = ("archive", {})
CANCEL: Final[Step] = ("cancel", {"refund_no": "{1}"})
RESUBMIT: Final[Step] = (
    "resubmit",
    {"account": "shop", "refund_no": "{1}", "after_attempt": 1},
)
#: The message that the provider sends is put in its place.
CALLBACK: Final[Step] = ("callback", {})
#: Of a submission: T1 and T3; what is sent, and what comes back.
_SENDING: Final = {"commit: ": 2, "gate": 1, "send: head": 1, "send: body": 1, "answer": 1}
#: The same under the order's lock.
_SUBMISSION: Final = {
    **_SENDING,
    "redis: SET refundry:order": 1,
    "redis: EVALSHA refundry:order": 1,
}
#: Three "not found" over ten minutes, after the grace; each after the one before has been asked.
_NOT_FOUND: Final = (_wait(400), POLL, _wait(330), POLL, _wait(330), POLL)
_FINAL: Final = (_post(1), _submit(), _wait(120), POLL)

SCENARIOS: Final = (
    Scenario(
        name="intake",
        cut=(_post(1),),
        sees={"commit: insert orders": 1, "redis: LPUSH refunds.submit": 1},
    ),
    Scenario(
        name="intake and submit", cut=(_request(1),), sees=_SENDING | {"commit: insert orders": 1}
    ),
    Scenario(
        name="two jobs of one order",
        cut=(_request(1), _request(2), _wait(120), POLL, _submit(2)),
        sees={name: 2 * times for name, times in _SENDING.items()},
    ),
    Scenario(name="submit", before=(_post(1),), cut=(_submit(),), sees=_SUBMISSION, cold=True),
    Scenario(
        name="two refunds of one order",
        before=(_post(1), _post(2)),
        cut=(_submit(), _wait(120), POLL, _submit(2)),
        sees={name: 2 * times for name, times in _SUBMISSION.items()},
    ),
    Scenario(
        name="a lost answer",
        before=(_post(1), _post(2)),
        plan={"submit": ["reset_after"]},
        cut=(_submit(), _wait(120), POLL, _submit(2)),
        sees={"commit: ": 6, "send: body": 3, "redis: LPUSH refunds.submit": 1},
    ),
    Scenario(
        name="poll",
        before=(_post(1), _submit()),
        plan={"submit": ["truncated"], "query": ["http_500"]},
        cut=(_wait(120), LOOK, POLL, _wait(120), POLL),
        sees={"commit: ": 4, "send: body": 2, "redis: LPUSH refunds.poll": 1},
    ),
    Scenario(
        name="sent again",
        before=(_post(1), _submit(), *_NOT_FOUND[:-2]),
        plan={"submit": ["reset_before"]},
        cut=(*_NOT_FOUND[-2:], _submit()),
        sees={"commit: ": 3, "send: body": 1},
    ),
    Scenario(
        name="reap",
        before=(_post(1), _post(2), _submit()),
        dies_at="answer",
        cut=(_wait(60), SWEEP, _wait(400), POLL),
        sees={"commit: ": 2, "send: body": 1},
    ),
    Scenario(
        name="reap before sending",
        before=(_post(1), _submit()),
        dies_at="gate",
        cut=(_wait(60), SWEEP, *_NOT_FOUND[:2]),
        sees={"commit: ": 3, "send: body": 1},
    ),
    Scenario(
        name="wake",
        before=(_post(1), ("lose_messages", {})),
        cut=(_wait(60), SWEEP),
        sees={"commit: ": 1, "redis: LPUSH refunds.submit": 1},
    ),
    Scenario(
        name="announce",
        before=_FINAL,
        cut=(ANNOUNCE, ANNOUNCE),
        may_pause=False,
        sees={"commit: ": 4, "redis: LPUSH told": 2},
    ),
    Scenario(
        name="announce by URL",
        before=_FINAL,
        by_url=True,
        cut=(ANNOUNCE, ANNOUNCE),
        may_pause=False,
        sees={"commit: ": 4, "send: body to /told": 2, "answer": 2},
    ),
    Scenario(
        name="archive",
        before=(*_FINAL, ANNOUNCE, ANNOUNCE, _wait(31 * 86_400), POLL),
        cut=(ARCHIVE, ARCHIVE),
        may_pause=False,
        sees={"commit: insert archived_events": 1},
    ),
    Scenario(
        name="cancel",
        before=(_post(1), _post(2)),
        cut=(CANCEL,),
        sees={"commit: ": 1, "redis: LPUSH refunds.submit": 1},
    ),
    Scenario(
        name="resubmit",
        before=_FINAL,
        plan={"fate": ["decline", "succeed"], "submit": []},
        resends=True,
        cut=(RESUBMIT, _submit()),
        sees={"commit: ": 1},
    ),
    Scenario(
        name="callback",
        before=(_post(1), _post(2), _submit()),
        account={"query": False},
        told=True,
        cut=(CALLBACK, _submit(2)),
        sees={"commit: ": 3, "redis: LPUSH refunds.submit": 1, "send: body": 1},
    ),
)


def scenarios_of(provider: str) -> tuple[Scenario, ...]:
    """The stories that can happen there."""
    return tuple(one for one in SCENARIOS if not one.told or provider in NOTIFYING)


def account_of(provider: str, sim_url: str) -> dict[str, Any]:
    """The settings of an account at the simulator."""
    subject = FILES[provider]["subject"]
    own = OWN_OPTIONS[provider] | subject.get("options", {})
    return {"provider": provider, "base_url": sim_url + subject["prefix"], **own, **TIMES}
