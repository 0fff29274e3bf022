"""What people do meanwhile: pause, hold, cancel, resubmit; by the gateway where it has a way."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import requests
from sqlalchemy import select

from tests.e2e.stack import PROVIDERS
from tests.faults.soak.world import World
from tests.integration.builders import SOMEBODY
from worker.errors import Refused, ServiceAway
from worker.ledger.tables import accounts, orders, refunds
from worker.steps.command import pause, resume

#: The refunds that people look at, the newest.
_SEEN: Final = 40
#: How long a hold that the gateway did not release is tried again, in seconds.
_RELEASE_S: Final = 60.0
#: Providers that take a failed number again.
_RESUBMITTED: Final = "qp"


class Operators:
    """Act on what the ledger shows."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ledger = world.stack.ledger
        #: Failed refunds that were asked for again.
        self.resubmitted: set[str] = set()

    def pause(self, choice: float, seconds: float) -> bool:
        """Stop an account for a while."""
        name = list(PROVIDERS)[int(choice * len(PROVIDERS))]
        with suppress(Refused):
            pause(self._ledger, name, SOMEBODY)
            time.sleep(seconds)
        return self._resume(name)

    def resume_all(self) -> None:
        """What an account was stopped for is over."""
        with self._ledger.read() as connection:
            stopped = select(accounts.c.name).where(accounts.c.paused_at.is_not(None))
            names = list(connection.execute(stopped).scalars())
        for name in names:
            self._resume(name)

    def release_all(self) -> None:
        """A hold whose answer was lost has a token that its holder never saw; the ledger has it."""
        held = (
            select(refunds.c.account, orders.c.order_no, orders.c.hold_token)
            .join(orders, orders.c.id == refunds.c.order_id)
            .where(orders.c.hold_token.is_not(None))
            .distinct()
        )
        with self._ledger.read() as connection:
            rows = connection.execute(held).all()
        for row in rows:
            path = f"/orders/{row.account}/{row.order_no}/release"
            self._is_answered(path, {"token": row.hold_token})

    def _resume(self, name: str) -> bool:
        """However long the ledger is away."""
        return self._insist(lambda: _resume_once(self._ledger, name))

    def hold(self, choice: float, seconds: float) -> bool:
        """Keep an order's refunds from being sent for a while."""
        found = self._one(choice, "queued")
        if found is None:
            return False
        path = f"/orders/{found.account}/{found.order_no}"
        answer = self._ask(f"{path}/hold", {})
        if answer is None or answer.status_code != 200:
            return False
        time.sleep(seconds)
        released = {"token": answer.json()["token"]}
        return self._insist(lambda: self._is_answered(f"{path}/release", released))

    def cancel(self, choice: float) -> bool:
        """Take a waiting refund back."""
        found = self._one(choice, "queued")
        if found is None:
            return False
        answer = self._ask(f"/refunds/{found.account}/{found.refund_no}/cancel", {})
        return answer is not None and answer.status_code == 200

    def resubmit(self, choice: float) -> bool:
        """Ask for a failed refund again."""
        found = self._one(choice, "failed", account=_RESUBMITTED)
        if found is None:
            return False
        self.resubmitted.add(found.refund_no)
        path = f"/refunds/{found.account}/{found.refund_no}/resubmit"
        answer = self._ask(path, {"after_attempt": found.attempt})
        return answer is not None and answer.status_code == 202

    def _one(self, choice: float, state: str, account: str | None = None) -> Any:
        """One of the newest refunds in that state."""
        query = (
            select(refunds.c.account, refunds.c.refund_no, refunds.c.attempt, orders.c.order_no)
            .join(orders, orders.c.id == refunds.c.order_id)
            .where(refunds.c.state == state)
            .order_by(refunds.c.id.desc())
            .limit(_SEEN)
        )
        if account is not None:
            query = query.where(refunds.c.account == account)
        with self._ledger.read() as connection:
            rows = connection.execute(query).all()
        return rows[int(choice * len(rows))] if rows else None

    def _ask(self, path: str, body: dict[str, Any]) -> requests.Response | None:
        url = self._world.stack.service.urls["gateway"] + path
        headers = {"Authorization": f"Bearer {self._world.token}"}
        with suppress(requests.RequestException):
            return requests.post(url, json=body, headers=headers, timeout=10)
        return None

    def _is_answered(self, path: str, body: dict[str, Any]) -> bool:
        answer = self._ask(path, body)
        return answer is not None and answer.status_code < 500

    def _insist(self, act: Callable[[], bool]) -> bool:
        give_up_at = time.monotonic() + _RELEASE_S
        while time.monotonic() < give_up_at:
            if act():
                return True
            time.sleep(0.5)
        return False


def _resume_once(ledger: Any, name: str) -> bool:
    try:
        resume(ledger, name, SOMEBODY)
    except Refused:
        return True  # somebody else was first
    except ServiceAway:
        return False
    return True
