"""``refunds.announce``: beat's tick that tells producers."""

from typing import Any, Final

from config.celery_options import PUBLISH_TIMEOUT_S, TASK_ANNOUNCE
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
    with app.producer_or_acquire() as producer:
        app.send_task(
            target["task"],
            kwargs=payload,
            queue=queue,
            retry=False,
            producer=producer,
            declare=_as_it_is(producer.connection, queue),
            confirm_timeout=PUBLISH_TIMEOUT_S,
        )


def _as_it_is(connection: Any, queue: str) -> list[Any] | None:
    """What is to be declared of a producer's queue; None says: as Celery does.

    A RabbitMQ refuses a queue that is declared otherwise than its owner did, and drops what is for
    a queue that is not there: its absence is an error, and it is told later.
    """
    if connection.transport.driver_type != "amqp":
        return None
    connection.ensure_connection(max_retries=1)  # the pool also gives those that an error closed
    with connection.channel() as channel:
        channel.queue_declare(queue, passive=True)
    return []
