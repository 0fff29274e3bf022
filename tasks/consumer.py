"""Celery's consumer, but a message that no task can read is recorded before it is let go."""

import base64
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from celery.utils.saferepr import saferepr
from celery.worker.consumer import Consumer

from worker.announcing.destinations import without_url
from worker.errors import Refused, ServiceAway
from worker.personal import masked
from worker.runtime import get_runtime
from worker.steps.refuse import refuse

_log = structlog.get_logger(__name__)

#: A message that cannot be recorded now is put back after this, so it never spins.
_LEDGER_AWAY_S: Final = 1.0
#: What is kept of an unreadable body, in bytes.
_MAX_BODY: Final = 2000
#: What is shown of a job's fields, in characters, as Celery's producers do it.
_MAX_SHOWN: Final = 1024

#: What Celery trips over in a malformed message; a broker that went away raises none of these.
_MALFORMED: Final = (LookupError, ValueError, TypeError, AttributeError, RecursionError)


class RecordingConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Records what it cannot hand to a task as a refused job."""

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
    """The body is ``[args, kwargs, options]``; Celery looks only when the task has begun."""
    try:
        body = message.payload
    except Exception:
        return  # the handler says what is wrong with it
    if isinstance(body, list):
        _, kwargs, options = body
        if not isinstance(kwargs, dict) or not isinstance(options, dict | None):
            raise ValueError("its body is not [args, kwargs, options]")


def _hide_private(message: Any) -> None:
    """Flower and the log show these two headers, which the producer wrote."""
    try:
        args, kwargs, _ = message.payload
    except Exception:
        args, kwargs = (), {}
    if message.headers.get("kwargsrepr"):
        message.headers["kwargsrepr"] = saferepr(_shown(kwargs), _MAX_SHOWN)
    if args:  # no task of ours takes any
        message.headers["argsrepr"] = "(...)"


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
    """What is kept of a message: its job, masked; its bytes where it shows no job."""
    kept: dict[str, Any] = {"content_type": str(message.content_type)[:64]}
    try:
        _, kwargs, _ = message.payload
    except Exception:
        body = message.body
        raw = body if isinstance(body, bytes) else str(body).encode(errors="replace")
        return kept | {"body": base64.b64encode(raw[:_MAX_BODY]).decode()}
    return kept | {"kwargs": _shown(kwargs)}
