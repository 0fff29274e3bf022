"""Celery's options, queues and beat schedule."""

from typing import Any, Final

from refundry.names import QUEUE_INTAKE, RABBIT_QUEUE, is_rabbit
from refundry.tls import broker_tls

#: The service's own tasks; after intake they carry identifiers only.
TASK_SUBMIT: Final = "refunds.submit"
TASK_LOOK: Final = "refunds.look"
TASK_POLL: Final = "refunds.poll"
TASK_SWEEP: Final = "refunds.sweep"
TASK_ANNOUNCE: Final = "refunds.announce"
TASK_RECONCILE: Final = "refunds.reconcile"
TASK_KEEPING: Final = "refunds.keeping"

QUEUE_SUBMIT: Final = "refunds.submit"
QUEUE_POLL: Final = "refunds.poll"
QUEUE_ANNOUNCE: Final = "refunds.announce"
QUEUES: Final = (QUEUE_INTAKE, QUEUE_SUBMIT, QUEUE_POLL, QUEUE_ANNOUNCE)

#: Seconds after which an unacknowledged message is delivered again.
VISIBILITY_TIMEOUT_S: Final = 300
#: Beat's ticks come every second.
TICK_S: Final = 1.0
#: Reconciliation's: it works on what is due about so long at a time.
RECONCILE_TICK_S: Final = 10.0
#: Housekeeping's, which takes a batch of what is due.
KEEPING_TICK_S: Final = 30.0
#: So that they do not pile up without end where nobody works. It is compared with the worker's own
#: clock: one that is ahead of beat's by more would take every tick for stale.
STALE_S: Final = 60.0
#: How long a broker may take to answer that it has a message.
PUBLISH_TIMEOUT_S: Final = 5
#: A worker that was never tuned: threads wait for providers, so many fit one process.
CONCURRENCY: Final = 32

#: In ``tasks``.
TASK_MODULES: Final = ("intake", "submit", "poll", "announce", "reconcile", "keeping")


def celery_options(broker_url: str) -> dict[str, Any]:
    """Options of the service's app; what each is for stands in ``docs/reference.md``."""
    return {
        "broker_url": broker_url,
        "broker_use_ssl": broker_tls(broker_url),
        "include": [f"tasks.{name}" for name in TASK_MODULES],
        "task_default_queue": QUEUE_SUBMIT,
        "task_queues": _queues(broker_url),
        "task_routes": {
            TASK_SUBMIT: {"queue": QUEUE_SUBMIT},
            TASK_SWEEP: {"queue": QUEUE_POLL},
            TASK_LOOK: {"queue": QUEUE_POLL},
            TASK_POLL: {"queue": QUEUE_POLL},
            TASK_RECONCILE: {"queue": QUEUE_POLL},
            TASK_KEEPING: {"queue": QUEUE_POLL},
            TASK_ANNOUNCE: {"queue": QUEUE_ANNOUNCE},
        },
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_retry_on_worker_lost": True,
        "worker_send_task_events": True,
        "worker_consumer": "tasks.consumer:RecordingConsumer",
        "worker_pool": "threads",
        "worker_concurrency": CONCURRENCY,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": _transport_options(broker_url),
        "timezone": "UTC",
        "beat_schedule": _beat_schedule(),
        "beat_scheduler": "tasks.beat:SteadyScheduler",
        "beat_max_loop_interval": TICK_S,
    }


def _queues(broker_url: str) -> dict[str, dict[str, Any]]:
    arguments = {"queue_arguments": RABBIT_QUEUE} if is_rabbit(broker_url) else {}
    return {name: {"exchange": name, "routing_key": name, **arguments} for name in QUEUES}


def _transport_options(broker_url: str) -> dict[str, Any]:
    if is_rabbit(broker_url):
        return {
            "confirm_publish": True,
            "read_timeout": PUBLISH_TIMEOUT_S,
            "write_timeout": PUBLISH_TIMEOUT_S,
        }
    if not broker_url.startswith(("redis", "rediss", "unix", "sentinel")):
        return {}
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "max_connections": 200,
    }


def _beat_schedule() -> dict[str, dict[str, Any]]:
    ticks = dict.fromkeys((TASK_LOOK, TASK_SWEEP, TASK_ANNOUNCE), TICK_S)
    ticks |= {TASK_RECONCILE: RECONCILE_TICK_S, TASK_KEEPING: KEEPING_TICK_S}
    return {
        name: {"task": name, "schedule": seconds, "options": {"expires": STALE_S}}
        for name, seconds in ticks.items()
    }
