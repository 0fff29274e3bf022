"""The producer's side of Refundry: a typed refund request and the client that sends it."""

from refundry.client import NotAccepted, RefundClient, SendFailed
from refundry.names import QUEUE_INTAKE, TASK_REQUEST, TASK_RESUBMIT, Event, State
from refundry.request import Announce, InvalidRequest, RefundRequest

__all__ = [
    "QUEUE_INTAKE",
    "TASK_REQUEST",
    "TASK_RESUBMIT",
    "Announce",
    "Event",
    "InvalidRequest",
    "NotAccepted",
    "RefundClient",
    "RefundRequest",
    "SendFailed",
    "State",
]
