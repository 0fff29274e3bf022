"""Does what the plan says, at its time; every fault is over when the injection ends."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import psutil

from refundry import QUEUE_INTAKE
from tests.e2e.service import PATIENCE_S, eventually
from tests.e2e.stack import PROVIDERS
from tests.faults.servers import messaging
from tests.faults.soak.operators import Operators
from tests.faults.soak.plan import BREAKING, Fault
from tests.faults.soak.world import PostgresLedger, World

#: Faults under way at once; acts are quick.
_HANDS: Final = 16
#: A supervisor that did not get ready, because what it needs was broken, is started again.
_STARTS: Final = 8
#: Messages that no task can read: body, content type, headers.
_POISON: Final[tuple[tuple[bytes, str, dict[str, Any]], ...]] = (
    (b"{", "application/json", {"task": "refunds.request", "id": "1"}),
    (b"\xff\xfe", "application/json", {"task": "refunds.request", "id": "2"}),
    (b"\x80\x04}\x94.", "application/x-python-serialize", {"task": "refunds.request", "id": "3"}),
    (b"[]", "application/json", {"task": "refunds.request", "id": "4"}),
    (b"[[], {}, {}]", "application/json", {"task": "no.such", "id": "5"}),
    (b"[[], {}, {}]", "application/json", {}),
    (b'[[], {"amount": NaN}, {}]', "application/json", {"task": "refunds.request", "id": "6"}),
    (b"[" * 50_000, "application/json", {"task": "refunds.request", "id": "7"}),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A fault that was done; unix seconds."""

    kind: str
    began_at: float
    ended_at: float


class Injector:
    """Works through a plan in a thread of its own.

    Args:
        world: what is broken.
        operators: who acts on refunds.
        more: asks for more refunds at once: a ``flood`` or a ``hot_order``.
    """

    def __init__(self, world: World, operators: Operators, more: Callable[[str], None]) -> None:
        self._world, self._operators, self._more = world, operators, more
        self.done: list[Done] = []
        #: What could not be done, and why.
        self.missed: list[str] = []
        self.acts: Counter[str] = Counter()
        self._hands = ThreadPoolExecutor(_HANDS, thread_name_prefix="fault")
        self._under_way: list[Future[None]] = []
        self._stop = threading.Event()

    def run(self, plan: tuple[Fault, ...]) -> None:
        """Every fault of the plan; returns when the last is over."""
        began = time.monotonic()
        for fault in plan:
            if self._stop.wait(max(0.0, began + fault.at_s - time.monotonic())):
                break
            self._under_way.append(self._hands.submit(self._do, fault))
        for future in self._under_way:
            future.result()
        self._hands.shutdown()

    def stop(self) -> None:
        """Begin no further fault."""
        self._stop.set()

    def _do(self, fault: Fault) -> None:
        began_at = time.time()
        try:
            happened = _ACTS[fault.kind](self, fault)
        except Exception as error:  # what is broken already cannot be broken again
            self.missed.append(f"{fault.kind} {fault.number}: {error!r:.200}")
            return
        if happened is False:
            return
        self.acts[fault.kind] += 1
        if fault.kind in BREAKING:
            self.done.append(Done(kind=fault.kind, began_at=began_at, ended_at=time.time()))

    def _process(self, name: str) -> psutil.Process:
        """A child of the supervisor, as soon as it lives."""
        service = self._world.stack.service
        eventually(lambda: service.pid_of(name) != 0, f"{name} lives")
        return psutil.Process(service.pid_of(name))

    def _worker_stopped(self, fault: Fault) -> None:
        process = self._process(fault.part)
        process.suspend()
        try:
            time.sleep(fault.lasts_s)
        finally:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def _killed(self, name: str) -> None:
        self._process(name).kill()

    def _supervisor_killed(self, fault: Fault) -> None:
        service = self._world.stack.service
        service.process.kill()
        service.wait()
        for start in range(1, _STARTS + 1):
            try:
                service.start()
                return
            except AssertionError:
                if start == _STARTS:
                    raise

    def _broker_frozen(self, fault: Fault) -> None:
        self._world.broker.freeze()
        try:
            time.sleep(fault.lasts_s)
        finally:
            self._world.broker.thaw()

    def _server(self) -> Any:
        ledger = self._world.ledger
        assert isinstance(ledger, PostgresLedger)
        return ledger.server

    def _locks(self) -> Any:
        assert self._world.locks is not None
        return self._world.locks

    def _provider_out(self, fault: Fault) -> None:
        provider = list(PROVIDERS.values())[int(fault.choice * len(PROVIDERS))]
        outage = {"provider": provider, "seconds": fault.lasts_s}
        self._world.stack.sim.control("outage", outage)
        time.sleep(fault.lasts_s)

    def _second_beat(self, fault: Fault) -> None:
        """Another beat with a schedule of its own."""
        service = self._world.stack.service
        schedule = self._world.folder / f"second-beat-{fault.number}"
        command = [sys.executable, "-m", "tasks", "beat", "-s", str(schedule)]
        urls = {
            "REFUNDRY_BROKER_URL": self._world.broker_url,
            "REFUNDRY_DATABASE_URL": service.urls["database"],
        }
        with (self._world.folder / "second-beat.log").open("ab") as log:
            beat = subprocess.Popen(
                command,
                env={**service.environment, **urls},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        time.sleep(fault.lasts_s)
        beat.kill()
        beat.wait(PATIENCE_S)

    def _poison(self, fault: Fault) -> None:
        body, content_type, headers = _POISON[fault.number % len(_POISON)]
        with messaging.Connection(self._world.broker_url, connect_timeout=3) as connection:
            connection.Producer().publish(
                body,
                exchange=QUEUE_INTAKE,
                routing_key=QUEUE_INTAKE,
                content_type=content_type,
                content_encoding="utf-8",
                headers={"lang": "py", **headers},
            )

    def _flood(self, fault: Fault) -> None:
        self._more("flood")

    def _hot_order(self, fault: Fault) -> None:
        self._more("hot_order")

    def _account_paused(self, fault: Fault) -> bool:
        return self._operators.pause(fault.choice, fault.lasts_s)

    def _order_held(self, fault: Fault) -> bool:
        return self._operators.hold(fault.choice, fault.lasts_s)

    def _canceled(self, fault: Fault) -> bool:
        return self._operators.cancel(fault.choice)

    def _resubmitted(self, fault: Fault) -> bool:
        return self._operators.resubmit(fault.choice)


#: By kind; False: there was nothing to act on.
_ACTS: Final[Mapping[str, Callable[[Injector, Fault], bool | None]]] = {
    "worker_stopped": Injector._worker_stopped,
    "supervisor_killed": Injector._supervisor_killed,
    "database_restarted": lambda one, _: one._server().restart(),
    "broker_restarted": lambda one, _: one._world.broker.restart(),
    "broker_frozen": Injector._broker_frozen,
    "broker_flushed": lambda one, _: one._world.broker.flush(),
    "locks_restarted": lambda one, _: one._locks().restart(),
    "locks_flushed": lambda one, _: one._locks().flush(),
    "connections_cut": lambda one, _: one._server().cut_connections(),
    "ledger_locked": lambda one, fault: one._world.ledger.lock(fault.lasts_s),
    "worker_killed": lambda one, fault: one._killed(fault.part),
    "beat_killed": lambda one, _: one._killed("beat"),
    "gateway_killed": lambda one, _: one._killed("gateway"),
    "provider_out": Injector._provider_out,
    "second_beat": Injector._second_beat,
    "account_paused": Injector._account_paused,
    "flood": Injector._flood,
    "hot_order": Injector._hot_order,
    "poison": Injector._poison,
    "order_held": Injector._order_held,
    "canceled": Injector._canceled,
    "resubmitted": Injector._resubmitted,
}
