"""The names that producers and the service share: tasks, queues, events, states."""

from enum import StrEnum
from typing import Final

#: Takes a refund; keyword arguments are the fields of :class:`refundry.RefundRequest`.
TASK_REQUEST: Final = "refunds.request"
#: Sends a failed refund again under its own number; ``account, refund_no, after_attempt``.
TASK_RESUBMIT: Final = "refunds.resubmit"
#: Both are read from this queue.
QUEUE_INTAKE: Final = "refunds.intake"
#: How RabbitMQ keeps the service's queues, told alike by everybody who declares one: on several
#: machines, and giving a message out as often as it comes back. RabbitMQ 4 would let go of it after
#: 20 times, and while the ledger is away jobs come back every two seconds.
RABBIT_QUEUE: Final = {"x-queue-type": "quorum", "x-delivery-limit": 2**31 - 1}


def is_rabbit(broker_url: str) -> bool:
    """Whether a broker's URL is of a RabbitMQ."""
    return broker_url.startswith(("amqp://", "amqps://", "pyamqp://"))


class Event(StrEnum):
    """What an announcement says has happened to a refund."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FINAL = "final"
    REVERSED = "reversed"


class State(StrEnum):
    """Where a refund stands; see the state diagram in the service's documentation."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    REVERSED = "reversed"
