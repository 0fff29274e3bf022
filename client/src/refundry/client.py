"""Sends refunds to the service over its Celery broker."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from celery import Celery

from refundry.names import QUEUE_INTAKE, RABBIT_QUEUE, TASK_REQUEST, TASK_RESUBMIT, is_rabbit
from refundry.request import RefundRequest
from refundry.tls import broker_tls

#: A publish that cannot reach the broker fails within about this many seconds.
_SOCKET_TIMEOUT_S: Final = 2
_REDIS_OPTIONS: Final[dict[str, Any]] = {
    "broker_transport_options": {
        "socket_timeout": _SOCKET_TIMEOUT_S,
        "socket_connect_timeout": _SOCKET_TIMEOUT_S,
    },
}
_RABBIT_OPTIONS: Final[dict[str, Any]] = {
    "task_queues": {
        QUEUE_INTAKE: {
            "exchange": QUEUE_INTAKE,
            "routing_key": QUEUE_INTAKE,
            "queue_arguments": RABBIT_QUEUE,
        }
    },
    "broker_transport_options": {
        "confirm_publish": True,
        "read_timeout": _SOCKET_TIMEOUT_S,
        "write_timeout": _SOCKET_TIMEOUT_S,
    },
}


class SendFailed(Exception):
    """Raised when the broker did not take the message. It may run all the same: send it again."""


class NotAccepted(Exception):
    """Raised when no acceptance was seen in time. Sending again is harmless."""


class RefundClient:
    """Publishes refund requests; holds no state, so one instance serves a whole process.

    A broker can lose a message before the service has seen it. A producer that must not lose
    a refund stores its own intent first and sends until it has seen the ``accepted``
    announcement: :meth:`request_until_accepted`. Sending the same request twice is harmless,
    for a refund number with the same content is the same refund.
    """

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("refundry-client", broker=broker_url, set_as_current=False)
        self._app.conf.update(
            task_ignore_result=True,
            task_serializer="json",
            accept_content=["json"],
            broker_connection_timeout=_SOCKET_TIMEOUT_S,
            broker_use_ssl=broker_tls(broker_url),
            **(_RABBIT_OPTIONS if is_rabbit(broker_url) else _REDIS_OPTIONS),
        )

    def request(self, request: RefundRequest) -> None:
        """Ask for a refund.

        Raises:
            SendFailed: the broker is away; send again later.
        """
        self._send(TASK_REQUEST, request.job())

    def request_until_accepted(
        self,
        request: RefundRequest,
        is_accepted: Callable[[], bool],
        *,
        resend_every_s: float = 10.0,
        give_up_after_s: float = 300.0,
        look_every_s: float = 0.2,
    ) -> None:
        """Send, and send again, until ``is_accepted()`` says that the acceptance was announced.

        Args:
            request: the refund, whose intent the producer has already stored.
            is_accepted: looks into the producer's own store, where the task that takes the
                announcements has noted the answer (``accepted`` or ``refused``).
            resend_every_s: seconds between two sends.
            give_up_after_s: seconds after which the call ends.
            look_every_s: seconds between two looks.

        Raises:
            NotAccepted: nothing was announced in time; the intent stays open, call again.
        """
        give_up_at = time.monotonic() + give_up_after_s
        send_at = time.monotonic()
        while not is_accepted():
            now = time.monotonic()
            if now >= give_up_at:
                raise NotAccepted(f"{request.refund_no}: no answer in {give_up_after_s:g} s")
            if now >= send_at:
                self._try_request(request)
                send_at = now + resend_every_s
            time.sleep(look_every_s)

    def resubmit(self, account: str, refund_no: str, after_attempt: int) -> None:
        """Ask for a failed refund to be sent again under its own number.

        ``after_attempt`` is the number of the attempt that failed; it makes the call idempotent.

        Raises:
            SendFailed: the broker is away; send again later.
        """
        self._send(
            TASK_RESUBMIT,
            {"account": account, "refund_no": refund_no, "after_attempt": after_attempt},
        )

    def close(self) -> None:
        """Let go of the connections to the broker."""
        self._app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _try_request(self, request: RefundRequest) -> None:
        try:
            self.request(request)
        except SendFailed:
            return  # the next round sends it again

    def _send(self, task: str, kwargs: dict[str, Any]) -> None:
        try:
            self._app.send_task(
                task,
                kwargs=kwargs,
                queue=QUEUE_INTAKE,
                retry=False,
                confirm_timeout=_SOCKET_TIMEOUT_S,
            )
        except Exception as error:  # every transport has its own way to fail
            raise SendFailed(f"the broker did not take {task}: {error}") from error
