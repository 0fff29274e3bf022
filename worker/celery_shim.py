"""Two faults of kombu's Redis transport that end a worker, and a door of Celery's that is shut.

1. (kombu 5.7.0) While late-acked messages are in flight and Redis disappears, a second close
   reaches ``_connparams`` on a transport whose client is gone already. The ``AttributeError`` is
   none of the connection errors that the worker recovers from, so it exits. Raising Redis' own
   error there lets it reconnect.
2. An item of the queue's list that is not a message at all (somebody pushed it by hand), or one
   with a part of another kind, raises in the event loop: the item is lost and the worker ends.
   Wrapped into an envelope it reaches the consumer, which records it.

And a waste: for every acknowledgement and every publication the transport makes a new client over
the same connections, which is a tenth of what a busy worker spends. One is as good as many.
"""

import base64
import functools
import uuid
from collections.abc import Callable
from typing import Any, Final

import kombu
import redis
from kombu.transport import redis as redis_transport

transport: Any = redis_transport
#: Versions in which the first fault was seen.
_AFFECTED: Final = ("5.7.0",)
#: What Flower asks for beside looking: that workers send the events that they send anyway.
_HARMLESS: Final = ("enable_events", "heartbeat")
#: What the transport can undo.
_BODY_ENCODINGS: Final = (None, "base64")


def install_shim() -> None:
    """Mend the transport; harmless when it is mended already."""
    if not hasattr(transport.loads, "__wrapped__"):
        transport.loads = _with_envelope(transport.loads)
    channel = transport.Channel
    if kombu.__version__ in _AFFECTED and not hasattr(channel._connparams, "__wrapped__"):
        channel._connparams = _with_redis_error(channel._connparams)
    if not hasattr(channel._create_client, "__wrapped__"):
        channel._create_client = _kept_while_connected(channel._create_client)


def _kept_while_connected(create: Callable[..., Any]) -> Callable[..., Any]:
    """A client that commands are sent by is made once for its connections; threads may share it."""

    @functools.wraps(create)
    def kept(channel: Any, asynchronous: bool = False) -> Any:
        if asynchronous:  # it reads the queues, and has a connection to itself
            return create(channel, asynchronous)
        known = channel.__dict__.get("refundry_client")
        if known is None or known.connection_pool is not channel.pool:
            known = channel.refundry_client = create(channel)
        return known

    return kept


def only_look(panel: Any) -> None:
    """Take from Celery's remote control what changes a worker; signals and commands do that.

    Whoever can publish could otherwise stop all workers, or have a job dropped unrecorded.
    """
    for name, command in list(panel.meta.items()):
        if command.type == "control" and name not in _HARMLESS:
            panel.data.pop(name, None)
            panel.data.pop(command.alias, None)


def _with_redis_error(connparams: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(connparams)
    def safe(channel: Any, *args: Any, **kwargs: Any) -> Any:
        if channel.connection.client is None:
            raise redis.exceptions.ConnectionError("the transport is closed already")
        return connparams(channel, *args, **kwargs)

    return safe


def _with_envelope(loads: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(loads)
    def safe(text: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            value = loads(text, *args, **kwargs)
        except (ValueError, RecursionError):
            return _envelope(text)
        return value if _is_message(value) or _is_kept(value) else _envelope(text)

    return safe


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("body"), str):
        return False
    properties = value.get("properties")
    if not isinstance(value.get("headers"), dict) or not isinstance(properties, dict):
        return False
    named = (value.get("content-type"), value.get("content-encoding"))
    return (
        all(isinstance(name, str | None) for name in named)
        and isinstance(properties.get("delivery_tag"), str)
        and isinstance(properties.get("delivery_info"), dict)
        and properties.get("body_encoding") in _BODY_ENCODINGS
    )


def _is_kept(value: Any) -> bool:
    """What the transport itself keeps of a message that is not acknowledged yet."""
    return isinstance(value, list) and len(value) == 3 and _is_message(value[0])


def _envelope(text: Any) -> dict[str, Any]:
    raw = text if isinstance(text, bytes) else str(text).encode()
    return {
        "body": base64.b64encode(raw).decode(),
        "content-type": "application/octet-stream",
        "content-encoding": "binary",
        "headers": {},
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
            "delivery_info": {"exchange": "", "routing_key": ""},
        },
    }
