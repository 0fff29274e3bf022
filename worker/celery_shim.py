"""Two faults of kombu's Redis transport that end a worker.

1. (kombu 5.7.0) While late-acked messages are in flight and Redis disappears, a second close
   reaches ``_connparams`` on a transport whose client is gone already. The ``AttributeError`` is
   none of the connection errors that the worker recovers from, so it exits. Raising Redis' own
   error there lets it reconnect.
2. An item of the queue's list that is not a message at all (somebody pushed it by hand) raises in
   the event loop. Wrapped into an envelope it reaches the consumer, which records it.
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


def install_shim() -> None:
    """Mend the transport; harmless when it is mended already."""
    if not hasattr(transport.loads, "__wrapped__"):
        transport.loads = _with_envelope(transport.loads)
    channel = transport.Channel
    if kombu.__version__ in _AFFECTED and not hasattr(channel._connparams, "__wrapped__"):
        channel._connparams = _with_redis_error(channel._connparams)


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
    if not isinstance(value, dict) or "body" not in value:
        return False
    properties = value.get("properties")
    return isinstance(properties, dict) and {"delivery_tag", "delivery_info"} <= set(properties)


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
