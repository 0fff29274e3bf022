"""Celery's consumer, but a message that no task can read is recorded before it is let go."""

import base64
import hashlib
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Final

import structlog
from celery.worker.consumer import Consumer

from worker.announcing.destinations import without_url
from worker.errors import Refused, ServiceAway
from worker.personal import masked
from worker.runtime import get_runtime
from worker.steps.refuse import refuse

_log = structlog.get_logger(__name__)

#: A message that cannot be recorded now is put back after this, so it never spins.
_LEDGER_AWAY_S: Final = 1.0
#: How long Flower waits for what a worker has to tell, in seconds.
_EVENTS_S: Final = 0.5
#: The longest body that is read, in bytes; the largest job has 400 KB, every character escaped.
MAX_MESSAGE: Final = 512 * 1024
#: What is kept of an unreadable body, in bytes.
_MAX_BODY: Final = 2000
#: What is shown of a job's fields, in characters.
_MAX_SHOWN: Final = 1024

#: What Celery trips over in a malformed message; a broker that went away raises none of these.
_MALFORMED: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class RecordingConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Records what it cannot hand to a task as a refused job."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        """Without Celery's 28 queues for delayed messages: no task here has an ETA."""

        default_steps: ClassVar = [
            step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in step
        ]

    _event_dispatcher: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.hub:
            self.hub.call_repeatedly(_EVENTS_S, self._flush_events)

    def on_send_event_buffered(self) -> None:
        """What Flower is shown goes out by the clock, in packets; not by ones and twos."""

    @property
    def event_dispatcher(self) -> Any:
        """Sends packets by this thread's clock alone, however full they are.

        Celery has whichever thread fills one send it, over the connection that this thread reads:
        on RabbitMQ both then read each other's answers, and the worker hears nothing any more.
        """
        return self._event_dispatcher

    @event_dispatcher.setter
    def event_dispatcher(self, dispatcher: Any) -> None:
        if dispatcher is not None and self.hub:
            dispatcher.buffer_limit = sys.maxsize
        self._event_dispatcher = dispatcher

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Celery lets some malformed messages end the worker, which then takes them again."""
        handle = super().create_task_handler(*args, **kwargs)

        def handle_or_record(message: Any) -> None:
            try:
                _check_shape(message)
                _hide_private(message)
                handle(message)
            except _MALFORMED as error:
                self._let_go(message, error)

        return handle_or_record

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        self._let_go(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        self._let_go(message, ValueError("it names no task"))

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._let_go(message, ValueError("there is no such task"))

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._let_go(message, exc)

    def _let_go(self, message: Any, error: Exception) -> None:
        """Record the message, then acknowledge it. Its body goes to no log: it may be personal."""
        if _recorded(message, error):
            message.reject_log_error(_log, self.connection_errors)


def _check_shape(message: Any) -> None:
    """The body is ``[args, kwargs, options]``; Celery looks only when the task has begun.

    The protocol before this one would show Flower the fields of a job as they are.
    """
    if _is_too_long(message):
        raise ValueError(f"its body has more than {MAX_MESSAGE} bytes")
    try:
        body = message.payload
    except Exception:
        return  # the handler says what is wrong with it
    if not isinstance(body, list):
        raise ValueError("its body is not [args, kwargs, options]")
    _, kwargs, options = body
    if not isinstance(kwargs, dict) or not isinstance(options, dict | None):
        raise ValueError("its body is not [args, kwargs, options]")
    _check_headers(message.headers)


def _is_too_long(message: Any) -> bool:
    return len(message.body) > MAX_MESSAGE


def _check_headers(headers: dict[str, Any]) -> None:
    """Celery lets a message go unrecorded whose time no clock shows, or whose alias is no name."""
    if not isinstance(headers.get("shadow"), str | None):
        raise ValueError("its shadow is no name")
    for name in ("eta", "expires"):
        if headers.get(name) is not None:
            datetime.fromisoformat(headers[name]).astimezone()


def _hide_private(message: Any) -> None:
    """Flower and the log show these two headers, which the producer wrote."""
    try:
        args, kwargs, _ = message.payload
    except Exception:
        args, kwargs = (), {}
    if message.headers.get("kwargsrepr"):
        message.headers["kwargsrepr"] = _as_text(_shown(kwargs))
    if message.headers.get("argsrepr"):  # no task of ours takes any
        message.headers["argsrepr"] = "(...)" if args else "()"


def _as_text(shown: Any) -> str:
    try:
        text = repr(shown)
    except RecursionError:  # what is nested deeper than it can be written is refused by its task
        return "{...}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _shown(kwargs: Any) -> Any:
    """Without the paths of URLs and without personal data; nothing where it cannot be told."""
    try:
        return masked(without_url(kwargs), get_runtime().personal_names)
    except Exception:  # the handler says what is wrong
        return {}


def _recorded(message: Any, error: Exception) -> bool:
    """Record the message; False if the ledger is away and the message went back."""
    refusal = Refused("unreadable", f"not a message that a task can read: {error!r:.200}")
    try:
        refuse(get_runtime(), _task_of(message), _job_of(message), refusal)
    except ServiceAway as away:
        _log.warning("consumer.ledger_away", error=str(away))
        time.sleep(_LEDGER_AWAY_S)
        message.requeue()
        return False
    return True


def _task_of(message: Any) -> str:
    headers = message.headers if isinstance(message.headers, dict) else {}
    return str(headers.get("task", "?"))[:64]


def _job_of(message: Any) -> dict[str, Any]:
    """What is kept of a message: its job, masked; its bytes where it shows no job.

    Of one that is too long to be looked at only how to know it again: it may be personal.
    """
    kept: dict[str, Any] = {"content_type": str(message.content_type)[:64]}
    if _is_too_long(message):
        return kept | {"bytes": len(message.body), "sha256": _sha256(message.body)}
    try:
        _, kwargs, _ = message.payload
    except Exception:
        return kept | {"body": base64.b64encode(_raw(message.body)[:_MAX_BODY]).decode()}
    return kept | {"kwargs": _shown(kwargs)}


def _sha256(body: Any) -> str:
    return hashlib.sha256(_raw(body)).hexdigest()


def _raw(body: Any) -> bytes:
    return body if isinstance(body, bytes) else str(body).encode(errors="replace")
