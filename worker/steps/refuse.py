"""Refuse: a job that cannot be done is recorded with its reason and announced, never dropped."""

from typing import Any

from pydantic import ValidationError

from refundry import Announce, Event
from worker.errors import Refused
from worker.ledger import journal
from worker.runtime import Runtime
from worker.steps.announce import announcement


def refuse(runtime: Runtime, task: str, job: object, refusal: Refused) -> None:
    """Record a refused job and announce the refusal where the job says where."""
    target = _target(job)
    with runtime.ledger.write() as connection:
        now = runtime.ledger.now(connection)
        journal.record_refused_job(connection, task, job, refusal.code, str(refusal), now)
        if target is not None and isinstance(job, dict):
            payload = _refusal(job, refusal)
            journal.add_announcement(connection, None, Event.REFUSED, target, payload, now)


def _target(job: object) -> dict[str, Any] | None:
    """Where to announce, if that much of the job can be read."""
    try:
        announce = Announce.model_validate(job.get("announce") if isinstance(job, dict) else None)
    except ValidationError:
        return None
    return None if announce.task is None else announce.model_dump(exclude_none=True)


def _refusal(job: dict[str, Any], refusal: Refused) -> dict[str, Any]:
    return announcement(
        Event.REFUSED,
        account=_named(job, "account"),
        order_no=_named(job, "order_no"),
        refund_no=_named(job, "refund_no"),
        amount=_named(job, "amount"),
        reason=journal.storable(str(refusal)),
    )


def _named(job: dict[str, Any], name: str) -> object:
    """What the job says, if it is a plain value at all."""
    value = job.get(name)
    if isinstance(value, str):
        return journal.storable(value)
    return value if isinstance(value, int) else None
