"""One batch of refunds through a service that is ready, watched until all are final."""

import time
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any, Final

from config.settings import Settings
from worker.cli.demonstration.batch import make_batch
from worker.cli.demonstration.producer import Producer
from worker.cli.demonstration.service import DemoService
from worker.cli.demonstration.simulator import read_book, set_plans
from worker.cli.demonstration.verdict import Seen, problems
from worker.cli.demonstration.view import progress, show_table
from worker.cli.output import print_line
from worker.ledger.engine import Ledger, create_ledger_engine
from worker.ledger.refunds import find_refunds_by_number
from worker.ledger.reports import account_rows, export_rows, refused_rows, timeline

#: The batch takes about 15 s; after this long something is wrong.
_PATIENCE_S: Final = 180.0
_TICK_S: Final = 0.5
#: More than a batch can have refused.
_REFUSALS_MOST: Final = 100


class Demonstration:
    """One run; its numbers are of this run alone, so that the home can be used again."""

    def __init__(self, service: DemoService, settings: Settings) -> None:
        self._service = service
        self._broker_url = settings.broker()
        self._ledger = Ledger(create_ledger_engine(settings.database()))
        self._batch = make_batch(f"{time.time_ns() // 1_000_000:x}")

    def run(self) -> bool:
        """Whether every refund ended as the providers' book says.

        Raises:
            ServiceAway: the supervisor, the simulator or the broker is gone.
        """
        print_line(" ".join(f"{name}={url}" for name, url in self._service.urls.items()))
        set_plans(self._service.urls["simulator"], self._batch)
        with Producer(self._broker_url) as producer, progress(self._batch) as show:
            self._request_all(producer, show)
            self._wait_for(lambda seen: seen.final(self._batch) == len(self._batch), show)
        try:
            return self._judge()
        finally:
            self._ledger.engine.dispose()

    def _request_all(self, producer: Producer, show: Callable[[Seen], None]) -> None:
        """The one that exceeds its order goes last, when the order's others are reserved."""
        *refunds, exceeding = self._batch
        mates = [refund.refund_no for refund in refunds if refund.order_no == exceeding.order_no]
        producer.ask_for(refunds)
        self._wait_for(lambda seen: all(number in seen.ledger for number in mates), show)
        producer.ask_for([exceeding])
        producer.finish()

    def _wait_for(self, reached: Callable[[Seen], bool], show: Callable[[Seen], None]) -> None:
        give_up_at = time.monotonic() + _PATIENCE_S
        while time.monotonic() < give_up_at:
            seen = self._look({})
            show(seen)
            if reached(seen):
                return
            self._service.check()
            time.sleep(_TICK_S)

    def _look(self, book: Mapping[str, Mapping[str, Any]]) -> Seen:
        wanted = {refund.refund_no for refund in self._batch}
        rows = {row.refund_no: row for row in export_rows(self._ledger)}
        with self._ledger.read() as connection:
            jobs = refused_rows(connection, limit=_REFUSALS_MOST)
        refused = {job["refund_no"]: str(job["code"]) for job in jobs}
        return Seen(
            ledger={number: row for number, row in rows.items() if number in wanted},
            refused={number: code for number, code in refused.items() if number in wanted},
            book=book,
        )

    def _judge(self) -> bool:
        seen = self._look(read_book(self._service.urls["simulator"]))
        show_table(self._batch, seen, {number: self._states(number) for number in seen.ledger})
        wrong = problems(self._batch, seen)
        for problem in wrong:
            print_line(f"WRONG {problem}")
        for account, reason in self._paused() if wrong else ():
            print_line(f"account {account} is paused: {reason}")
        if not wrong:
            print_line(f"all {len(self._batch)} as the providers' book says, none executed twice")
        return not wrong

    def _paused(self) -> list[tuple[str, str | None]]:
        with self._ledger.read() as connection:
            rows = account_rows(connection, self._ledger.now(connection))
        return [(row.account, row.paused_reason) for row in rows if row.paused_at]

    def _states(self, refund_no: str) -> list[str]:
        """The states it went through, each as often as it was entered."""
        with self._ledger.read() as connection:
            (refund,) = find_refunds_by_number(connection, refund_no)
            events = timeline(connection, refund.id)
        return [state for state, _ in groupby(event.state for event in events)]
