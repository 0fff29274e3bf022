"""One story, told from its beginning: what leads to it, a worker that dies in it, who recovers."""

import base64
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.faults.crash_effects import CRASHED, Point
from tests.faults.crash_runner import Nursery
from tests.faults.crash_scenarios import ASKING, NOTIFYING, TOLD, Scenario, Step, account_of
from tests.integration.builders import NOW
from tests.providers.harness import FILES
from tests.receiver import SECRET, Receiver
from tests.simulator.ear import Ear, ear
from tests.simulator.harness import Sim, await_true

ORDER_LOCKS = "refundry:order:*"


class Log:
    """The simulator's log, read on from where it was left."""

    def __init__(self, sim: Sim) -> None:
        self._file = (sim.home / "log.jsonl").open("rb")
        self._events: list[Any] = []

    def of(self, refund: str, event: str) -> list[Any]:
        """What the provider saw of a refund."""
        self._read()
        return [one for one in self._events if (one["event"], one.get("refund")) == (event, refund)]

    def steps_of(self, refund: str) -> list[str]:
        """The kinds of events of a refund, in their order."""
        self._read()
        return [one["event"] for one in self._events if one.get("refund") == refund]

    def forget(self) -> None:
        """Only what comes from now on counts."""
        self._read()
        self._events.clear()

    def _read(self) -> None:
        for line in self._file:
            self._events.append(json.loads(line))

    def close(self) -> None:
        self._file.close()


@dataclass(kw_only=True)
class Bench:
    """The real parts that all stories of a module use, one after the other."""

    nursery: Nursery
    sim: Sim
    log: Log
    locks: "redis.Redis"
    messages: "redis.Redis"
    receiver: Receiver
    hearing: Ear
    #: Empties the ledger; its URL.
    empty: Callable[[], str]
    redis_url: str
    broker_url: str
    told: int = 0
    #: The providers of which everybody has what is fetched once: SQL, scripts, tokens.
    warm: set[str] = field(default_factory=set)

    def clear(self, *, cold: bool) -> str:
        """Everything is as it was before anything happened; the ledger's URL."""
        kept = set() if cold else set(self.locks.scan_iter("refundry:token:*"))
        if cold:
            self.warm.clear()
        keys = [key for key in self.locks.scan_iter("*") if key not in kept]
        for key in keys:
            self.locks.delete(key)
        self.messages.flushdb()
        self.log.forget()
        self.receiver.told.clear()
        self.hearing.heard.clear()
        self.told += 1
        return self.empty()


@contextmanager
def bench(valkey: str, folder: Path, empty: Callable[[], str]) -> Iterator[Bench]:
    """Starts what stories need."""
    broker = valkey.removesuffix("/0") + "/1"
    with ExitStack() as parts:
        nursery = parts.enter_context(Nursery(broker, folder))
        sim = Sim(folder / "sim")
        parts.callback(sim.stop)
        log = Log(sim)
        parts.callback(log.close)
        yield Bench(
            nursery=nursery,
            sim=sim,
            log=log,
            locks=parts.enter_context(redis.Redis.from_url(valkey)),
            messages=parts.enter_context(redis.Redis.from_url(broker)),
            receiver=parts.enter_context(Receiver()),
            hearing=parts.enter_context(ear(lambda _type, _body: (503, b""))),
            empty=empty,
            redis_url=valkey,
            broker_url=broker,
        )


def copies(template: Path, folder: Path) -> Callable[[], str]:
    """Ledgers on SQLite, each in the place of the one before."""
    path = folder / "ledger.sqlite"

    def empty() -> str:
        for rest in folder.glob("ledger.sqlite*"):
            rest.unlink()
        shutil.copy(template, path)
        return f"sqlite:///{path}"

    return empty


def _requests(scenario: Scenario) -> list[Step]:
    return [step for step in (*scenario.before, *scenario.cut) if step[0] in ASKING]


class Story:
    """One run of a scenario at a provider, with numbers of its own."""

    def __init__(self, bench: Bench, scenario: Scenario, provider: str) -> None:
        self._bench, self._scenario, self.provider = bench, scenario, provider
        self._database = bench.clear(cold=scenario.cold)
        begins = FILES[provider]["subject"].get("prefix_no", "")
        name = f"{begins}C{bench.told:06d}"
        self.order, self.refunds = f"{name}O", (f"{name}A", f"{name}B")
        #: The refunds whose job was accepted, or is repeated until it is.
        self.asked = {self._numbered(step[1]["refund_no"]) for step in _requests(scenario)}
        #: Whether what the provider does not show may be left to a person.
        self.unsure = scenario.told or provider == "guanaitong"
        self._now = NOW.isoformat()
        self._account = self._own_account()
        plan = scenario.plan or (NOTIFYING[provider] if scenario.told else {})
        bench.sim.plan(provider, self.refunds[0], **plan)

    def begin(self, point: Point | None = None) -> Any:
        """What happened before, and then the steps that are cut, up to their point."""
        scenario = self._scenario
        if scenario.dies_at:
            *before, last = scenario.before
            told = self.play([last], Point(number=0, label=scenario.dies_at), before)
            assert told["code"] == CRASHED, told
            self.let_locks_expire()
        elif scenario.told:
            self.play(scenario.before)
        else:
            return self.play(scenario.cut, point, scenario.before)
        return self.play(scenario.cut, point)

    def play(
        self, steps: Iterable[Step], point: Point | None = None, before: Iterable[Step] = ()
    ) -> Any:
        """Have a fresh process take the steps, before which others were taken; what it told."""
        spec = self._spec(steps, before) | {"point": asdict(point) if point else None}
        told = self._bench.nursery.fork(spec)
        assert told["code"] in (None, 0, CRASHED), told.get("error", told)
        self._now = told.get("now", self._now)
        return told

    def warm(self) -> None:
        """Have the parent of all workers load what they need, by telling the story itself."""
        cut = () if self._scenario.told else self._scenario.cut
        steps = [*self._scenario.before, *cut, ("recover", {})]
        told = self._bench.nursery.fork(self._spec(steps, ()) | {"warms": True})
        assert told["code"] == 0, told
        self._bench.warm.add(self.provider)

    def _spec(self, steps: Iterable[Step], before: Iterable[Step]) -> dict[str, Any]:
        bench = self._bench
        return {
            "database": self._database,
            "redis": bench.redis_url,
            "broker": bench.broker_url,
            "base_url": bench.sim.url,
            "account": self._account,
            "now": self._now,
            "seed": bench.told,
            "before": [self._made(step) for step in before],
            "steps": [self._made(step) for step in steps],
        }

    def resume(self) -> Any:
        """Let the worker go on that has stopped."""
        told = self._bench.nursery.resume()
        assert told["code"] == 0, told
        return told

    def accepted(self) -> bool:
        """Whether the ledger knows every refund that was asked for."""
        report = self.play([])["report"]
        return self.asked <= {refund["refund_no"] for refund in report["refunds"]}

    def sent(self) -> int:
        """Submissions that the provider has seen; what was on its way comes before the answers."""
        for _ in range(2):
            self.book()
        return sum(len(self._bench.log.of(number, "submit_in")) for number in self.refunds)

    def locked(self) -> list[bytes]:
        """The order's lock, if somebody has it or has died with it."""
        return list(self._bench.locks.scan_iter(ORDER_LOCKS))

    def let_locks_expire(self) -> None:
        for pattern in (ORDER_LOCKS, "*:lock"):
            for key in self._bench.locks.scan_iter(pattern):
                self._bench.locks.pexpire(key, 1)
        await_true(lambda: not self.locked())

    def heard(self) -> list[Step]:
        """What the provider has told of the story, as it tells it again until it is taken."""
        kind = "application/json" if self.provider == "hkrt" else _FORM
        return [
            ("callback", {"content_type": kind, "body": base64.b64encode(body).decode()})
            for body in dict.fromkeys(self._bench.hearing.heard)
            if any(number.encode() in body for number in self.refunds)
        ]

    def await_told(self) -> bool:
        """Wait until the provider has told of all that it has executed."""
        executed = [row for row in self.book().values() if row["state"] == "succeeded"]
        await_true(lambda: len(self.heard()) >= len(executed))
        return bool(executed)

    def book(self) -> dict[str, Any]:
        return {row["refund"]: row for row in self._bench.sim.book(order=self.order)}

    def tellings(self, report: Any) -> list[Any]:
        """What the producer was told, in the order in which it came."""
        if self._scenario.by_url:
            return [told for _, _, told in self._bench.receiver.told]
        return list(report["told"])

    def _own_account(self) -> dict[str, Any]:
        told = {"notify_url": self._bench.hearing.url} if self._scenario.told else {}
        urls = {
            "announce_hosts": [self._bench.receiver.host],
            "announce_secret": SECRET,
            "announce_private": True,
        }
        return account_of(self.provider, self._bench.sim.url) | urls | told | self._scenario.account

    def _made(self, step: Step) -> Step:
        """A step with the story's own numbers and messages in it."""
        name, given = step
        kwargs = {key: self._numbered(value) for key, value in given.items()}
        if name in ASKING:
            kwargs = self._job(kwargs["refund_no"])
        if name == "callback" and not given:
            kwargs = self._first_heard()
        return name, kwargs

    def _numbered(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return value.replace("{1}", self.refunds[0]).replace("{2}", self.refunds[1])

    def _job(self, refund_no: str) -> dict[str, Any]:
        to = {"url": self._bench.receiver.url} if self._scenario.by_url else _TASK
        return {
            "account": "shop",
            "order_no": self.order,
            "refund_no": refund_no,
            "amount": 30,
            "order_amount": 100,
            "paid_at": "2026-01-30T12:00:00+08:00",
            "reason": "退",
            "announce": to,
        }

    def _first_heard(self) -> dict[str, Any]:
        return dict(await_true(self.heard)[0][1])


_FORM = "application/x-www-form-urlencoded"
_TASK = {"task": "shop.told", "queue": TOLD}
