"""Those who pay refunds out without Refundry."""

import os
from typing import Any

import psutil
from sqlalchemy import create_engine, text

from bench.contenders.base import Crew
from bench.contenders.calls import TABLE, database_url
from bench.site import Job, Site


class _Rival:
    """A contender whose refunds are rows of one table."""

    name: str

    def prepare(self, site: Site) -> None:
        self._site = site
        os.environ.update(site.environment)  # its module is imported here to enqueue
        self._engine = create_engine(site.database_url)
        with self._engine.begin() as connection:
            connection.execute(text(TABLE))
        self._crew = Crew(site)

    def finished(self) -> int:
        with self._engine.connect() as connection:
            rows = text("SELECT count(*) FROM refunds WHERE state = 'REFUNDED'")
            return int(connection.execute(rows).scalar_one())

    def processes(self) -> list[psutil.Process]:
        return self._crew.processes()

    def stop(self) -> None:
        self._crew.dismiss()
        self._engine.dispose()


class HandRolled(_Rival):
    """Celery with a Redis lock per order; prefork, or threads."""

    def __init__(self, pool: str, concurrency: int) -> None:
        self.name = f"hand-rolled {pool}"
        self._pool, self._concurrency = pool, concurrency

    def hire(self) -> None:
        from celery import Celery

        self._app = Celery(broker=self._site.redis_url)
        worker = ("celery", "-A", "bench.contenders.handrolled_app", "worker", "--loglevel=ERROR")
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        self._crew.hire("worker", *worker, f"--pool={self._pool}", f"-c{self._concurrency}", *quiet)
        _await_celery(self._app)

    def enqueue(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._app.send_task("submit", args=[job])


def _await_celery(app: Any) -> None:
    while not app.control.inspect(timeout=0.5).ping():
        pass


class Procrastinate(_Rival):
    """Procrastinate, whose lock keeps an order's jobs apart."""

    name = "procrastinate"

    def hire(self) -> None:
        from procrastinate import App, SyncPsycopgConnector

        self._app = App(connector=SyncPsycopgConnector(conninfo=database_url()))
        self._app.open()
        self._app.schema_manager.apply_schema()
        app = "--app=bench.contenders.procrastinate_app.app"
        self._crew.hire("worker", "procrastinate", app, "worker", "--concurrency=32")

    def enqueue(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._app.configure_task("submit", lock=job["order_no"]).defer(job=job)

    def stop(self) -> None:
        self._app.close()
        super().stop()


class Dbos(_Rival):
    """DBOS, whose queue is partitioned by order."""

    name = "dbos"

    def hire(self) -> None:
        from dbos import DBOSClient

        worker = self._crew.hire("worker", "bench.contenders.dbos_app")
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        self._client = DBOSClient(system_database_url=database_url())

    def enqueue(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._client.enqueue(
                {
                    "queue_name": "refunds",
                    "workflow_name": "refund",
                    "app_version": "bench",
                    "queue_partition_key": job["order_no"],
                },
                job,
            )

    def stop(self) -> None:
        self._client.destroy()
        super().stop()


class BareLoop(_Rival):
    """The limit: both calls of every refund, one after the other, and nothing else."""

    name = "bare loop"

    def hire(self) -> None:
        self._done = 0

    def enqueue(self, jobs: list[Job]) -> None:
        from bench.contenders.calls import ask_refund, submit_refund

        for job in jobs:
            submit_refund(job)
            ask_refund(job["order_no"], job["refund_no"])
            self._done += 1

    def finished(self) -> int:
        return self._done

    def processes(self) -> list[psutil.Process]:
        return [psutil.Process()]
