"""Publishes the message that makes a worker look at an order."""

from collections.abc import Iterable

import structlog
from kombu.exceptions import OperationalError

from config.celery_options import TASK_SUBMIT
from worker.app import app

_log = structlog.get_logger(__name__)


def wake(order_ids: Iterable[int]) -> None:
    """Ring the bell for each order; a bell that cannot be rung is rung by the sweep later."""
    for order_id in order_ids:
        try:
            app.send_task(TASK_SUBMIT, kwargs={"order_id": order_id}, retry=False)
        except (OperationalError, OSError) as error:
            _log.warning("wake.not_published", order_id=order_id, error=str(error))
