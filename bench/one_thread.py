"""``python -m bench.one_thread``: one thread does what workers and beat do; its work is counted.

It takes the messages from the broker one by one and runs their tasks, as a worker with one thread
would, asks one question at a time, and gives beat's ticks itself: nobody's work is written down
together with somebody else's, so what it prints does not depend on the machine's speed. Receiving
a message is Celery's work and is counted as the message alone.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import create_engine, text

from bench.counter import WorkCounter
from bench.installation import ACCOUNT
from bench.measure import jobs
from config.celery_options import QUEUES, TASK_ANNOUNCE, TASK_LOOK
from config.settings import load_settings
from refundry import RefundClient, RefundRequest
from worker.app import app
from worker.runtime import get_runtime

#: Where producers would listen.
TOLD = "shop.told"


class OneThread:
    """A worker and a beat in one thread."""

    def __init__(self, counter: WorkCounter) -> None:
        app.loader.import_default_modules()
        self._counter = counter
        self._client = RefundClient(load_settings().broker())
        self._engine = create_engine(load_settings().database())
        self._channel = app.connection_for_read().default_channel

    def pay_out(self, wanted: int, per_order: int, *, told: bool) -> None:
        """So many refunds, from the producer's job to the last announcement."""
        announce = {"announce": {"task": TOLD, "queue": TOLD}} if told else {}
        with self._counter.looking_away():
            for job in jobs(wanted, per_order):
                self._client.request(RefundRequest.read({"account": ACCOUNT, **job, **announce}))
        self._work_off()
        while self._open():
            self._await_due()
            self._tick(TASK_LOOK)
        if told:
            self._tell(2 * wanted)

    def _tell(self, wanted: int) -> None:
        """The oldest of a refund's announcements go first, so it takes several ticks."""
        while wanted:
            self._tick(TASK_ANNOUNCE)
            arrived = sum(1 for _ in self._messages([TOLD]))
            self._counter.note("message announcement", arrived)
            wanted -= arrived

    def _tick(self, task: str) -> None:
        app.tasks[task]()
        self._counter.note(f"tick {task}")
        self._work_off()

    def _work_off(self) -> None:
        """Run what waits, and what that asks for, until nothing waits."""
        while any([self._run(message) for message in self._messages(QUEUES)]):
            pass

    def _run(self, message: Any) -> bool:
        name, (args, kwargs, _) = message.headers["task"], message.payload
        self._counter.note(f"message {name}")
        app.tasks[name](*args, **kwargs)
        return True

    def _messages(self, queues: Iterable[str]) -> Iterator[Any]:
        for name in queues:
            while (message := self._take(name)) is not None:
                yield message

    def _take(self, queue: str) -> Any:
        with self._counter.looking_away():
            return self._channel.basic_get(queue, no_ack=True)

    def _open(self) -> int:
        return self._ask("SELECT count(*) FROM refunds WHERE state IN ('pending', 'unknown')")

    def _await_due(self) -> None:
        waiting = "SELECT count(*) FROM refunds WHERE state = 'pending' AND due_at > now()"
        while self._ask(waiting):
            time.sleep(0.05)

    def _ask(self, query: str) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(text(query)).scalar_one())


def main() -> None:
    """Warm up uncounted, then pay out and print the counts."""
    wanted, per_order, told = json.loads(sys.argv[1])
    runtime = get_runtime()
    object.__setattr__(runtime, "askers", ThreadPoolExecutor(1))
    counter = WorkCounter(runtime.ledger.engine)
    worker = OneThread(counter)
    worker.pay_out(per_order, per_order, told=told)
    counter.counts.clear()
    worker.pay_out(wanted, per_order, told=told)
    print(json.dumps(counter.counts))


if __name__ == "__main__":
    main()
