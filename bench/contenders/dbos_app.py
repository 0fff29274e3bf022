"""Refunds on DBOS: a workflow per refund on a queue partitioned by order, one at a time in each.

``python -m bench.contenders.dbos_app`` is the worker.
"""

import threading
from typing import Any, Final

from dbos import DBOS, DBOSConfig

from bench.contenders.calls import (
    ask_refund,
    database_url,
    note_refund,
    note_state,
    submit_refund,
)

QUEUE: Final = "refunds"
#: One version, so that what a client enqueued is any worker's.
VERSION: Final = "bench"


@DBOS.step()
def send(job: dict[str, Any]) -> str:
    """The first call, once it was written down that the workflow is here."""
    note_refund(job)
    return submit_refund(job)


@DBOS.step()
def ask(job: dict[str, Any]) -> str:
    """The second call, and the row's last state."""
    status = ask_refund(job["order_no"], job["refund_no"])
    note_state(job["refund_no"], status)
    return status


@DBOS.workflow(name="refund")
def refund(job: dict[str, Any]) -> None:
    """Both calls of a refund."""
    send(job)
    ask(job)


def work() -> None:
    """Serve the queue until the process is ended."""
    config = DBOSConfig(
        name="bench",
        system_database_url=database_url(),  # its tables lie beside ours
        application_version=VERSION,
        sys_db_pool_size=40,
        console_log_level="ERROR",
        log_level="ERROR",
    )
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(
        QUEUE, worker_concurrency=32, partition_concurrency=1, polling_interval_sec=0.1
    )
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    work()
