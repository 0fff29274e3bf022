"""What the routes work with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from gateway.bell import Bell
from gateway.rates import Rates
from worker.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Service:
    """One gateway process."""

    #: Gives the process's runtime, building it at the first call; raises ServiceAway.
    get_runtime: Callable[[], Runtime]
    rates: Rates
    bell: Bell
    #: Whether the broker answers; asked by ``/ready``.
    broker_answers: Callable[[], bool]

    @property
    def runtime(self) -> Runtime:
        """Raises ServiceAway: the ledger did not answer so far."""
        return self.get_runtime()

    def close(self) -> None:
        """Ring what waits, and let go of Redis."""
        self.bell.close()
        self.rates.close()


def _of(request: Request) -> Service:
    return cast(Service, request.app.state.service)


TheService = Annotated[Service, Depends(_of)]
