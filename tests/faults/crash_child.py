"""What a forked child does: a runtime of its own, then the steps of a scenario, then a report."""

import base64
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import redis
from kombu import pools
from sqlalchemy import Engine

import tasks.announce
import tasks.intake
import tasks.poll
import tasks.submit
import worker.runtime
from config.celery_options import QUEUE_POLL, QUEUE_SUBMIT, TASK_POLL, TASK_SUBMIT
from tests.faults.crash_effects import Effects, Point, watch
from tests.faults.crash_scenarios import TOLD
from tests.integration.builders import Shop, open_shop
from worker.announcing.couriers import COURIERS
from worker.app import app
from worker.errors import Refused
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.steps.archive import archive
from worker.steps.command import cancel_refund
from worker.steps.intake import accept
from worker.steps.notify import take_notification
from worker.wake import wake

Spec = dict[str, Any]
#: A recovery that takes more rounds than this does not come to an end.
MOST_ROUNDS = 30
#: What passes between two rounds of a recovery; from the patient ones on a day passes.
ROUND, PATIENT_ROUND = timedelta(minutes=4), timedelta(hours=2)
#: A round that long after the last finds nothing to do but questions.
LATER = timedelta(minutes=70)
#: How many rounds are enough where nothing is left to a person.
SOON = 12


def play(spec: Spec, leave: Callable[..., None]) -> Spec:
    """Run a spec's steps, numbering their effects; what came of it.

    ``leave`` is told where and when this process has come to its point.
    """
    random.seed(spec["seed"])  # jitter is the same in every run
    point = Point(**spec["point"]) if spec["point"] else None
    engine = _engine(spec["database"])
    engine.dispose(close=False)  # connections are the parent's, if there are any
    with at_work(spec, Ledger(engine)) as (shop, work):
        work.take(spec["before"])
        effects = Effects(point, lambda label: leave(at=label, now=shop.clock.now.isoformat()))
        watch(effects, engine)
        work.take(spec["steps"])
        seen = list(effects.seen)
        return {"effects": seen, "now": shop.clock.now.isoformat(), "report": work.report()}


def warm(spec: Spec) -> None:
    """Do in the parent what every child would have to do for itself: imports, compiled SQL."""
    engine = _engine(spec["database"])
    with at_work(spec, Ledger(engine)) as (_, work):
        work.take([*spec["before"], *spec["steps"]])
        work.report()
    engine.dispose()
    kombu_pools.reset()
    app._after_fork()


kombu_pools: Any = pools


@cache
def _engine(url: str) -> Engine:
    """One a process and its children, for what it has compiled; a child has its own connections."""
    return create_ledger_engine(url)


@contextmanager
def at_work(spec: Spec, ledger: Ledger) -> Iterator[tuple[Shop, "Work"]]:
    """This process is a worker of the spec's account."""
    with open_shop(ledger, spec["redis"], spec["base_url"], {"shop": spec["account"]}) as shop:
        shop.clock.now = datetime.fromisoformat(spec["now"])
        worker.runtime._built[:] = [shop.runtime]
        yield shop, Work(shop, spec)


class Work:
    """The steps, each as the service's processes take it."""

    def __init__(self, shop: Shop, spec: Spec) -> None:
        self._shop = shop
        self._runtime = shop.runtime
        self._broker = redis.Redis.from_url(spec["broker"])

    def take(self, steps: list[tuple[str, Spec]]) -> None:
        """One step after the other."""
        for name, kwargs in steps:
            getattr(self, name)(**kwargs)

    def wait(self, seconds: float) -> None:
        self._shop.wait(timedelta(seconds=seconds))

    def request(self, **job: Any) -> None:
        tasks.intake.request(**job)

    def post(self, **job: Any) -> None:
        """As the gateway's route does it."""
        wake([accept(self._runtime, job).order_id])

    def resubmit(self, **job: Any) -> None:
        tasks.intake.resubmit(**job)

    def submit(self, refund_no: str) -> None:
        query = "SELECT order_id FROM refunds WHERE refund_no = :number"
        for row in self._shop.rows(query, number=refund_no):
            tasks.submit.submit(row.order_id)

    def poll(self) -> None:
        tasks.poll.poll("shop")

    def look(self) -> None:
        tasks.poll.look()

    def sweep(self) -> None:
        tasks.poll.sweep()

    def announce(self) -> None:
        """A tick, and the rounds to URLs that it starts."""
        tasks.announce.announce()
        while self._runtime.couriers.free < COURIERS:
            time.sleep(0.002)

    def cancel(self, refund_no: str) -> None:
        """As the gateway does it."""
        try:
            wake([cancel_refund(self._runtime, "shop", refund_no)])
        except Refused as refusal:
            if refusal.code not in ("not_cancelable", "not_found"):
                raise

    def callback(self, content_type: str, body: str) -> None:
        """As the gateway's route does it."""
        raw = base64.b64decode(body)
        taken = take_notification(self._runtime, "shop", content_type, raw)
        assert taken.accepted
        if taken.wake is not None:
            wake([taken.wake])

    def archive(self) -> None:
        """As a tick does it, of all that is final."""
        archive(self._runtime, timedelta(0))

    def lose_messages(self) -> None:
        """The broker forgets what workers were to do."""
        self._broker.delete(QUEUE_SUBMIT, QUEUE_POLL)

    def round(self) -> None:
        """Every tick once, and every message that comes of it."""
        self.sweep()
        self.look()
        self._take_messages()
        self.announce()

    def recover(self) -> None:
        """Rounds until nothing moves, and then a late one."""
        for number in range(MOST_ROUNDS):
            self.round()
            if self._is_settled():
                break
            self._shop.wait(ROUND if number < SOON else PATIENT_ROUND)
        self._shop.wait(LATER)
        self.round()

    def report(self) -> Spec:
        """What a ledger and a broker show of it all."""
        rows = self._shop.rows
        refunds = rows("SELECT refund_no, amount, state, attempt, order_id FROM refunds")
        kept = rows("SELECT event, payload FROM announcements ORDER BY id")
        open_cases = "SELECT kind FROM cases WHERE closed_at IS NULL"
        return {
            "refunds": [dict(row._mapping) for row in refunds],
            "cases": [row.kind for row in rows(open_cases)],
            "undelivered": self._undelivered(),
            "announced": [[row.event, _payload(row.payload)] for row in kept],
            "refused": [row.code for row in rows("SELECT code FROM refused_jobs")],
            "told": [_kwargs(text) for text in reversed(self._told())],
            "audit": [f"{one.promise}: {one.row} {one.said}" for one in self._breaches()],
            "settled": self._is_settled(),
        }

    def _breaches(self) -> list[Any]:
        return [found for found in self._shop.audit() if not found.warning]

    def _told(self) -> list[Any]:
        told: Any = self._broker.lrange(TOLD, 0, -1)
        return list(told)

    def _undelivered(self) -> int:
        query = "SELECT count(*) FROM announcements WHERE delivered_at IS NULL"
        return int(self._shop.value(query))

    def _is_settled(self) -> bool:
        """Nothing is open but what a person has, or what waits behind it."""
        query = """SELECT count(*) FROM refunds
            WHERE state NOT IN ('succeeded', 'failed', 'canceled')
            AND order_id NOT IN (SELECT refunds.order_id FROM refunds JOIN cases
                ON cases.refund_id = refunds.id WHERE closed_at IS NULL)"""
        started = "SELECT count(*) FROM attempts WHERE status = 'started'"
        counts = (self._shop.value(query), self._undelivered(), self._shop.value(started))
        return not any(counts)

    def _take_messages(self) -> None:
        while True:
            popped: Any = self._broker.rpop(QUEUE_SUBMIT) or self._broker.rpop(QUEUE_POLL)
            if popped is None:
                return
            message = json.loads(popped)
            run = {TASK_SUBMIT: tasks.submit.submit, TASK_POLL: tasks.poll.poll}
            run[message["headers"]["task"]](**_kwargs(popped))


def _kwargs(text: Any) -> Any:
    """The keyword arguments of a Celery message."""
    _, kwargs, _ = json.loads(base64.b64decode(json.loads(text)["body"]))
    return kwargs


def _payload(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
