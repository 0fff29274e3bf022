"""``/health`` and ``/ready``: for supervisors and load balancers."""

from fastapi import APIRouter

from gateway.documents import problems
from gateway.problems import RETRY_AFTER_S, Problem
from gateway.service import Service, TheService
from gateway.shapes import Alive, Ready
from worker.errors import ServiceAway
from worker.steps.ready import LedgerState, ledger_state

router = APIRouter(tags=["health"])


@router.get("/health", response_model=Alive, summary="Whether the process is alive")
async def health() -> Alive:
    """Depends on nothing: what fails here is mended by a restart."""
    return Alive()


@router.get(
    "/ready",
    response_model=Ready,
    summary="Whether refunds can be taken",
    responses=problems(503),
)
def ready(service: TheService) -> Ready:
    """The ledger and Redis are needed; without the broker refunds are taken and sent later."""
    parts = Ready(
        ledger=_ledger(service),
        redis="ok" if service.rates.redis_answers() else "away",
        broker="ok" if service.broker_answers() else "away",
    )
    if (parts.ledger, parts.redis) == ("ok", "ok"):
        return parts
    wrong = [f"{name} is {value}" for name, value in parts if value != "ok"]
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    raise Problem(503, "not_ready", ", ".join(wrong), headers=headers, parts=parts.model_dump())


def _ledger(service: Service) -> LedgerState:
    try:
        return ledger_state(service.runtime.ledger)
    except ServiceAway:  # not even at the start
        return "away"
