"""Producers: a steady stream by broker and gateway, as fast as the service gets refunds done.

As the client's page tells producers to, each wish is kept and sent again until it was answered:
a broker that is emptied loses messages, and nothing else does.
"""

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Final

import requests
from sqlalchemy import func, select

from refundry import RefundClient, RefundRequest, SendFailed
from tests.e2e.stack import PROVIDERS
from tests.faults.soak.load import HOT_REFUNDS, ORDER_AMOUNT, Wish, wishes
from tests.faults.soak.verdict import Asked, Key
from tests.faults.soak.world import World
from worker.errors import ServiceAway
from worker.ledger.tables import refunds, refused_jobs
from worker.refund import OPEN

#: A wish that was not answered is sent again after this.
_AGAIN_S: Final = 10.0
#: Refunds under way that the stream keeps the service busy with, and orders of a flood.
BUSY: Final = 200
FLOOD_ORDERS: Final = 150
#: What is older waits for something, and does not count as under way.
_YOUNG: Final = timedelta(seconds=40)
#: Most orders sent between two looks into the ledger.
_BURST: Final = 25
#: Ids that may become visible late, for transactions commit in another order than they begin.
_OVERLAP: Final = 300
_BY_HTTP_AT_ONCE: Final = 4


class Producer:
    """Asks for refunds and remembers what it has asked for."""

    def __init__(self, world: World, seed: int) -> None:
        self._world, self._seed = world, seed
        #: Everything asked for, by refund number.
        self.asked: dict[str, Asked] = {}
        #: What was paid, by provider and order.
        self.paid: dict[Key, int] = {}
        self._waiting: dict[str, tuple[float, list[Wish]]] = {}
        self._order = 0
        self._last_id = 0
        self._extra: list[str] = []
        self._client = RefundClient(world.broker_url)
        self._http = ThreadPoolExecutor(_BY_HTTP_AT_ONCE, thread_name_prefix="http")
        self._posted: dict[str, Future[None]] = {}

    def more(self, what: str) -> None:
        """A flood or a hot order, with the next step."""
        self._extra.append(what)

    def step(self) -> None:
        """Look what was answered, and ask for as much as the service can take."""
        with suppress(ServiceAway):
            self.look()
            room = BUSY - self._under_way()
            for _ in range(min(room // 3, _BURST)):
                self._ask_for_one()
        while self._extra:
            if self._extra.pop() == "hot_order":
                self._ask_for_one(HOT_REFUNDS)
            else:
                for _ in range(FLOOD_ORDERS):
                    self._ask_for_one()
        self.send_again()

    def look(self) -> None:
        """Forget what the ledger has taken or refused."""
        query = select(refunds.c.id, refunds.c.refund_no).where(
            refunds.c.id > self._last_id - _OVERLAP
        )
        with self._world.stack.ledger.read() as connection:
            for row in connection.execute(query):
                self._last_id = max(self._last_id, row.id)
                self._waiting.pop(row.refund_no, None)

    def send_again(self) -> None:
        """Whatever was not answered for long; what was answered in the end is not asked again."""
        now = time.monotonic()
        late = [number for number, (at, _) in self._waiting.items() if now - at > _AGAIN_S]
        with suppress(ServiceAway):
            for number in late:
                _, own = self._waiting[number]
                if self._is_answered(number):
                    del self._waiting[number]
                else:
                    self._send(number, own)

    @property
    def waiting(self) -> int:
        """Wishes without an answer."""
        return len(self._waiting)

    def close(self) -> None:
        """No more is asked for."""
        self._http.shutdown(cancel_futures=True)
        self._client.close()

    def _under_way(self) -> int:
        ledger = self._world.stack.ledger
        with ledger.read() as connection:
            young = ledger.now(connection) - _YOUNG
            query = (
                select(func.count())
                .select_from(refunds)
                .where(refunds.c.state.in_(OPEN), refunds.c.accepted_at > young)
            )
            return int(connection.execute(query).scalar_one()) + len(self._waiting)

    def _is_answered(self, number: str) -> bool:
        taken = select(refunds.c.id).where(refunds.c.refund_no == number)
        refused = select(refused_jobs.c.id).where(refused_jobs.c.refund_no == number)
        with self._world.stack.ledger.read() as connection:
            return bool(connection.execute(taken.union_all(refused)).first())

    def _ask_for_one(self, count: int = 0) -> None:
        self._order += 1
        by_number: dict[str, list[Wish]] = {}
        for wish in wishes(self._seed, self._order, self._world.receiver.url, count):
            by_number.setdefault(wish.number, []).append(wish)
        self._plan(own[0] for own in by_number.values() if own[0].contradicted)
        for number, own in by_number.items():
            self._note(number, own)
            self._send(number, own)

    def _plan(self, contradicted: Iterable[Wish]) -> None:
        for wish in contradicted:
            plan = {"fate": "succeed", "notify": ["contradicting"]}
            self._world.stack.plan(wish.job, **plan)

    def _note(self, number: str, own: list[Wish]) -> None:
        job = own[0].job
        self.paid[PROVIDERS[job["account"]], job["order_no"]] = ORDER_AMOUNT
        self.asked[number] = Asked(
            account=job["account"],
            amounts=frozenset(wish.job["amount"] for wish in own),
            refusable=own[0].refusable,
            told="announce" in job,
        )

    def _send(self, number: str, own: list[Wish]) -> None:
        self._waiting[number] = (time.monotonic(), own)
        if own[0].by_http:
            if number not in self._posted or self._posted[number].done():
                self._posted[number] = self._http.submit(self._post, own)
            return
        with suppress(SendFailed):
            for wish in own:
                self._client.request(RefundRequest.read(wish.job))

    def _post(self, own: list[Wish]) -> None:
        """A gateway that is away, or says so, is asked again later."""
        url = self._world.stack.service.urls["gateway"] + "/refunds"
        headers = {"Authorization": f"Bearer {self._world.token}"}
        for wish in own:
            with suppress(requests.RequestException):
                answer = requests.post(url, json=wish.job, headers=headers, timeout=10)
                if answer.status_code == 202:
                    self._promised(wish)

    def _promised(self, wish: Wish) -> None:
        known = self.asked[wish.number]
        self.asked[wish.number] = Asked(
            account=known.account,
            amounts=known.amounts,
            refusable=known.refusable,
            promised=True,
            told=known.told,
        )
