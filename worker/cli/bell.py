"""Rings for workers when a command has left them something to do.

It is a hint: where the broker is away, beat's next tick finds it, and the command is done anyway.
The Celery app needs the broker's URL, which is certain only once the settings were read.
"""

from collections.abc import Iterable


def have_asked(account: str) -> None:
    """Have the account's due questions asked now."""
    from worker import wake

    wake.have_asked([account])


def wake_orders(order_ids: Iterable[int]) -> None:
    """Have the orders looked at now."""
    from worker import wake

    wake.wake(order_ids)
