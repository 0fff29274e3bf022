"""``refunds.announce``: beat's tick that tells producers."""

from typing import Any, Final

from config.celery_options import TASK_ANNOUNCE
from worker.app import app
from worker.runtime import get_runtime
from worker.steps import announce as step
from worker.steps.announce_urls import announce_urls

#: Where a producer's own Celery app listens that names no queue.
CELERY_DEFAULT_QUEUE: Final = "celery"


@app.task(name=TASK_ANNOUNCE, send_events=False)
def announce() -> None:
    """Deliver what is due, to tasks first. Flower sees the producers' tasks instead."""
    runtime = get_runtime()
    step.announce(runtime, deliver)
    announce_urls(runtime)


def deliver(target: dict[str, Any], payload: dict[str, Any]) -> None:
    """Publish an announcement as the producer's own task; raises if the broker is away."""
    queue = target.get("queue", CELERY_DEFAULT_QUEUE)
    app.send_task(target["task"], kwargs=payload, queue=queue, retry=False)
