"""Refundry, as it is run: its worker and beat, every guarantee on."""

import time
from typing import Final

import psutil
from sqlalchemy import create_engine, func, select

from bench.contenders.base import Crew
from bench.installation import ACCOUNT, install
from bench.site import Job, Site
from refundry import RefundClient, RefundRequest
from worker.ledger.tables import refunds
from worker.supervisor.programs import SPARING

#: Nobody is waited for longer.
PATIENCE_S: Final = 60.0


class Refundry:
    """Worker processes and a beat over the site's servers."""

    def __init__(self, workers: int = 1, concurrency: int = 32, settings: str = "") -> None:
        self.name = "refundry"
        self._workers, self._concurrency, self._settings = workers, concurrency, settings

    def prepare(self, site: Site) -> None:
        self._folder, self._variables = site.folder, install(site, self._settings)
        self._engine = create_engine(site.database_url)
        with self._engine.connect() as connection:
            newest = connection.execute(select(func.max(refunds.c.id))).scalar()
        self._before = newest or 0
        self._client, self._crew = RefundClient(site.redis_url), Crew(site)

    def hire(self) -> None:
        for number in range(self._workers):
            name = f"worker-{number + 1}"
            more = (f"--concurrency={self._concurrency}", f"--hostname={name}@%h")
            self._start(name, "worker", *more)
        self._start("beat", "beat", f"--schedule={self._folder / 'beat'}")

    def _start(self, name: str, kind: str, *more: str) -> None:
        command = ("tasks", kind, "--loglevel=ERROR", *more)
        self._crew.hire(name, *command, **SPARING, **self._variables)

    def enqueue(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._client.request(RefundRequest.read({"account": ACCOUNT, **job}))

    def finished(self) -> int:
        return self._count("succeeded")

    def await_state(self, state: str, count: int) -> None:
        """Wait until so many refunds are in that state."""
        give_up_at = time.monotonic() + PATIENCE_S
        while self._count(state) < count:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{self._count(state)} of {count} are {state}")
            time.sleep(0.1)

    def _count(self, state: str) -> int:
        """Of those that came since it was prepared, for a ledger may have a history."""
        new = refunds.c.id > self._before
        with self._engine.connect() as connection:
            rows = select(func.count()).where(refunds.c.state == state, new)
            return int(connection.execute(rows).scalar_one())

    def processes(self) -> list[psutil.Process]:
        return self._crew.processes()

    def stop(self) -> None:
        self._crew.dismiss()
        self._client.close()
        self._engine.dispose()
