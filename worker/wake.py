"""Publishes the messages that make a worker look at an order, or ask for an account.

They are hints: what cannot be published now, for whatever cause, is published again by a later
tick, and no cause may undo what the caller has committed.
"""

from collections.abc import Iterable
from typing import Any

import structlog

from config.celery_options import PUBLISH_TIMEOUT_S, STALE_S, TASK_POLL, TASK_SUBMIT
from worker.app import app

_log = structlog.get_logger(__name__)


def wake(order_ids: Iterable[int]) -> None:
    """Ring the bell for each order; a bell that cannot be rung is rung by the sweep later."""
    for order_id in order_ids:
        _publish(TASK_SUBMIT, {"order_id": order_id})


def have_asked(accounts: Iterable[str]) -> None:
    """Have each account's questions asked; dropped after a while, for the next tick looks again."""
    for account in accounts:
        _publish(TASK_POLL, {"account": account}, expires=STALE_S)


def _publish(task: str, kwargs: dict[str, Any], **options: Any) -> None:
    try:
        app.send_task(
            task, kwargs=kwargs, retry=False, confirm_timeout=PUBLISH_TIMEOUT_S, **options
        )
    except Exception as error:  # every transport has its own way to fail
        _log.warning("wake.not_published", task=task, **kwargs, error=str(error))
