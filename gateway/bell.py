"""Rings for workers beside the answers, so that a broker that is away or slow delays none."""

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

#: Wakes that wait for a slow broker; the sweep wakes the orders of those that find no room.
_ROOM: Final = 1000
#: How long the end waits for a wake that is on its way.
_PATIENCE_S: Final = 5.0


class Bell:
    """One thread that wakes orders, in turn."""

    def __init__(self, wake: Callable[[Iterable[int]], None]) -> None:
        self._wake = wake
        self._waiting: queue.Queue[int | None] = queue.Queue(_ROOM)
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
        self._thread.start()

    def ring(self, order_id: int) -> None:
        """Have the order woken soon; returns at once."""
        try:
            self._waiting.put_nowait(order_id)
        except queue.Full:
            _log.warning("bell.no_room", order_id=order_id)

    def close(self) -> None:
        """Ring for those that wait, if the broker is quick, then end."""
        try:
            self._waiting.put(None, timeout=_PATIENCE_S)
        except queue.Full:
            return
        self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        while (order_id := self._waiting.get()) is not None:
            try:
                self._wake([order_id])
            except Exception as error:  # every transport has its own way to fail
                _log.warning("bell.not_rung", order_id=order_id, error=str(error))
