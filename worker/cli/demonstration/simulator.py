"""The simulator's control page, as far as the demonstration needs it."""

from collections.abc import Iterable
from typing import Any, Final

import requests

from worker.cli.demonstration.batch import DemoRefund
from worker.errors import ServiceAway

_TIMEOUT_S: Final = 5.0


def set_plans(url: str, batch: Iterable[DemoRefund]) -> None:
    """Tell the providers what was paid, and what happens to each refund.

    Raises:
        ServiceAway: the simulator does not answer.
    """
    wanted = [refund for refund in batch if not refund.exceeds]
    paid = {(refund.provider, refund.order_no): refund.order_amount for refund in wanted}
    orders = [{"provider": p, "order": o, "paid": amount} for (p, o), amount in paid.items()]
    _call("POST", f"{url}/_sim/orders", orders)
    _call("POST", f"{url}/_sim/plan", [refund.plan() for refund in wanted])


def read_book(url: str) -> dict[str, dict[str, Any]]:
    """The providers' book, by refund number.

    Raises:
        ServiceAway: the simulator does not answer.
    """
    rows = _call("GET", f"{url}/_sim/book")
    return {row["refund"]: row for row in rows}


def _call(method: str, url: str, body: object = None) -> Any:
    try:
        answer = requests.request(method, url, json=body, timeout=_TIMEOUT_S)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise ServiceAway(f"the simulator at {url}: {error}") from None
    return answer.json()
