"""What the integration tests share: a shop around a ledger, rows by raw SQL, threads that race."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, bindparam, text

from config.accounts import Account
from refundry import TASK_REQUEST, State
from worker.access_tokens import Tokens
from worker.audit import Finding, audit_order
from worker.ledger.engine import FixedClock, Ledger
from worker.ledger.orders import ensure_account
from worker.ledger.types import UtcTime
from worker.ledger.whole import next_whole_orders, stopped_accounts
from worker.lots import Lanes
from worker.order_lock import OrderLocks
from worker.rate_limits import RateLimits
from worker.refund import Outcome, Verdict
from worker.runtime import Runtime, build_lines, suspended_clock
from worker.steps.audit_ledger import audit_all_orders
from worker.steps.intake import take_job
from worker.steps.intake_lot import Accepted
from worker.steps.intent import Intent
from worker.steps.people import Person
from worker.steps.settle import settle
from worker.steps.submit import claim_next

MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
#: Nobody listens on the discard port.
NOWHERE = "http://127.0.0.1:9"
#: A person whose name does not matter.
SOMEBODY = Person(name="li", reason="test")
#: Most of the races: enough for every pair of threads to meet.
THREADS = 8

Result = TypeVar("Result")


@dataclass(kw_only=True)
class Shop:
    """A service around a ledger, and what tests ask of it."""

    runtime: Runtime
    clock: FixedClock
    #: A job's keyword arguments, where a test says nothing else.
    usual: dict[str, Any] = field(
        default_factory=lambda: {
            "account": "shop",
            "order_no": "O1",
            "refund_no": "R1",
            "amount": 10,
            "order_amount": 100,
        }
    )

    def processes(self) -> "tuple[Shop, Shop]":
        """The service in two processes, whose threads do nothing together."""
        return self, replace(self, runtime=replace(self.runtime, lanes=Lanes()))

    def job(self, **changed: Any) -> dict[str, Any]:
        return self.usual | changed

    def take(self, **changed: Any) -> Accepted | None:
        """Intake of a job; None if it was refused."""
        return take_job(self.runtime, TASK_REQUEST, self.job(**changed))

    def accept(self, **changed: Any) -> Accepted:
        accepted = self.take(**changed)
        assert accepted is not None, self.rows("SELECT reason FROM refused_jobs")
        return accepted

    def refused(self, **changed: Any) -> str:
        """The code that a job is refused with."""
        assert self.take(**changed) is None
        number = changed.get("refund_no", self.usual["refund_no"])
        rows = self.rows(
            "SELECT code FROM refused_jobs WHERE refund_no = :number ORDER BY id DESC",
            number=number,
        )
        return str(rows[0].code)

    def claim(self, order_id: int) -> Intent | None:
        """T1 by the test itself."""
        return claim_next(self.runtime, order_id, suspended_clock())

    def settle(self, intent: Intent, verdict: Verdict) -> bool:
        return settle(self.runtime, intent, Outcome(verdict=verdict))

    def wait(self, wait: timedelta) -> None:
        self.clock.now += wait

    def rows(self, sql: str, **values: Any) -> list[Any]:
        with self.runtime.ledger.read() as connection:
            return list(connection.execute(text(sql), values).all())

    def value(self, sql: str, **values: Any) -> Any:
        ((value,),) = self.rows(sql, **values)
        return value

    def execute(self, sql: str, **values: Any) -> None:
        with self.runtime.ledger.write() as connection:
            run(connection, sql, **values)

    def state(self, refund_no: str = "R1") -> State:
        return State(self.value("SELECT state FROM refunds WHERE refund_no = :no", no=refund_no))

    def audit(self) -> list[Finding]:
        """Everything that the audit says about the ledger."""
        return [found for order in audit_all_orders(self.runtime.ledger) for found in order]


def findings(connection: Connection, now: datetime) -> list[Finding]:
    """The same of a ledger that is going to be as it was again."""
    stopped = stopped_accounts(connection, now)
    whole = next_whole_orders(connection, 0)
    return [found for order in whole for found in audit_order(order, stopped, now)]


def shop_account(name: str, base_url: str, /, **settings: Any) -> Account:
    """An account, of quickpay if nothing else is said; each belongs to a merchant of its own."""
    usual = {"name": name, "merchant": name, "base_url": f"{base_url}/qp"}
    if "provider" not in settings:
        usual |= {"provider": "quickpay", "store_no": "S1", "operator": "ops"}
    return Account.model_validate(usual | settings)


@contextmanager
def open_shop(
    ledger: Ledger, redis_url: str, base_url: str, accounts: dict[str, dict[str, Any]]
) -> Iterator[Shop]:
    """A shop with the accounts, or with the one called ``shop``."""
    clock = FixedClock(NOW)
    wanted = accounts or {"shop": {}}
    lines = build_lines({name: shop_account(name, base_url, **own) for name, own in wanted.items()})
    timed = Ledger(ledger.engine, clock)
    with timed.write() as connection:
        for name, line in lines.items():
            ensure_account(connection, name, line.account.provider, line.provider.merchant)
    locks, limits, tokens = OrderLocks(redis_url), RateLimits(redis_url), Tokens(redis_url)
    with ThreadPoolExecutor(4) as askers:
        runtime = Runtime(
            ledger=timed, lines=lines, locks=locks, limits=limits, tokens=tokens, askers=askers
        )
        yield Shop(runtime=runtime, clock=clock)
    runtime.couriers.close()
    locks.close()
    limits.close()
    tokens.close()
    for line in lines.values():
        line.wire.close()
        line.webhooks.close()


def race(step: Callable[[int], Result], threads: int = THREADS) -> list[Result]:
    """Run a step in so many threads at once; each is given its number."""
    barrier = threading.Barrier(threads)

    def run(number: int) -> Result:
        barrier.wait(timeout=20)
        return step(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def run(connection: Connection, sql: str, **values: Any) -> CursorResult[Any]:
    """Raw SQL; times are stored as the ledger stores them."""
    times = [name for name, value in values.items() if isinstance(value, datetime)]
    statement = text(sql).bindparams(*(bindparam(name, type_=UtcTime()) for name in times))
    return connection.execute(statement, values)


def insert(connection: Connection, table: str, **values: Any) -> None:
    """A row, by raw SQL."""
    columns, places = ", ".join(values), ", ".join(f":{name}" for name in values)
    run(connection, f"INSERT INTO {table} ({columns}) VALUES ({places})", **values)


def raw_order(connection: Connection, number: int, **changed: Any) -> int:
    """An order of 100 fen of which 50 are reserved."""
    values = {
        "id": number,
        "merchant": "M",
        "order_no": f"O{number}",
        "currency": "CNY",
        "order_amount": 100,
        "paid_amount": 100,
        "paid_stated": True,
        "refunded_before": 0,
        "before_stated": False,
        "reserved": 50,
        "created_at": NOW,
    }
    insert(connection, "orders", **values | changed)
    return number


def raw_refund(connection: Connection, number: int, order_id: int, **changed: Any) -> int:
    """A queued refund of 10 fen, without its event."""
    values = {
        "id": number,
        "order_id": order_id,
        "account": "shop",
        "merchant": "M",
        "refund_no": f"R{number}",
        "amount": 10,
        "state": "queued",
        "holds_order": False,
        "releases": False,
        "event_seq": 1,
        "attempt": 0,
        "sent": 0,
        "open_sent": 0,
        "known": False,
        "not_found": 0,
        "fingerprint": "f",
        "request": "{}",
        "accepted_at": NOW,
        "state_at": NOW,
    }
    insert(connection, "refunds", **values | changed)
    return number


def raw_event(connection: Connection, refund_id: int, seq: int, state: str) -> None:
    """The event that a row stands on."""
    values = {"at": NOW, "kind": "test", "attempt": 0, "detail": "{}"}
    insert(connection, "events", refund_id=refund_id, seq=seq, state=state, **values)


def raw_attempt(connection: Connection, refund_id: int, number: int, status: str) -> None:
    """An attempt to send a refund."""
    times = {"started_at": NOW, "lease_until": NOW}
    values = {"number": number, "status": status, "fingerprint": "f", **times}
    insert(connection, "attempts", refund_id=refund_id, **values)
