"""Refunds the usual way: a Celery task with a Redis lock per order, a row, a task that asks.

Nothing here survives a crash at the wrong moment; it is what teams write in a day.
"""

import os
from typing import Any

import redis
from celery import Celery

from bench.contenders.calls import ask_refund, note_refund, note_state, submit_refund

app = Celery("handrolled", broker=os.environ["BENCH_REDIS_URL"])
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_disable_rate_limits = True
locks = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])


@app.task(name="submit", bind=True, max_retries=None)
def submit(self: Any, job: dict[str, Any]) -> None:
    """Send a refund while no other of its order is being sent."""
    lock = locks.lock(f"lock:{job['order_no']}", timeout=60, blocking=False, thread_local=False)
    if not lock.acquire():
        raise self.retry(countdown=0.05)
    try:
        note_refund(job)
        note_state(job["refund_no"], submit_refund(job))
    finally:
        lock.release()
    poll.delay(job["order_no"], job["refund_no"])


@app.task(name="poll", bind=True, max_retries=None)
def poll(self: Any, order_no: str, refund_no: str) -> None:
    """Ask until the refund is final."""
    status = ask_refund(order_no, refund_no)
    if status != "REFUNDED":
        raise self.retry(countdown=1)
    note_state(refund_no, status)
