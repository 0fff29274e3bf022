"""Refuse: a job that cannot be done is recorded with its reason and announced, never dropped."""

from typing import Any, Final

from pydantic import ValidationError

from refundry import Announce, Event
from worker.announcing.destinations import without_url
from worker.errors import Refused
from worker.ledger import journal
from worker.personal import masked
from worker.runtime import Runtime
from worker.steps.announce import announcement

#: Of a name in the announcement of a refusal, in characters; a good one has 64.
_MAX_NAMED: Final = 256
#: What every reader of JSON takes for the number that it is.
_MAX_INTEGER: Final = 2**53


def refuse(runtime: Runtime, task: str, job: object, refusal: Refused) -> None:
    """Record a refused job and announce the refusal where the job says where.

    Nothing personal is kept of it, whichever way it came.
    """
    target, shown = _target(runtime, job), masked(without_url(job), runtime.personal_names)
    with runtime.ledger.write() as connection:
        now = runtime.ledger.now(connection)
        journal.record_refused_job(connection, task, shown, refusal.code, str(refusal), now)
        if target is not None and isinstance(job, dict):
            payload = _refusal(job, refusal)
            journal.add_announcement(connection, None, Event.REFUSED, target, payload, now)


def _target(runtime: Runtime, job: object) -> dict[str, Any] | None:
    """Where to announce, if that much of the job can be read and the account allows it."""
    if not isinstance(job, dict):
        return None
    try:
        announce = Announce.model_validate(job.get("announce"))
    except ValidationError:
        return None
    if announce.url is not None and not _may_tell(runtime, job.get("account"), announce.url):
        return None
    return announce.model_dump(exclude_none=True)


def _may_tell(runtime: Runtime, account: object, url: str) -> bool:
    line = runtime.lines.get(account) if isinstance(account, str) else None
    return line is not None and not line.webhooks.problems(url)


def _refusal(job: dict[str, Any], refusal: Refused) -> dict[str, Any]:
    return announcement(
        Event.REFUSED,
        account=_named(job, "account"),
        order_no=_named(job, "order_no"),
        refund_no=_named(job, "refund_no"),
        amount=_named(job, "amount"),
        reason=journal.short_reason(str(refusal)),
    )


def _named(job: dict[str, Any], name: str) -> object:
    """What the job says, if it is a plain value at all, and bounded."""
    value = job.get(name)
    if isinstance(value, str):
        return journal.storable(value[:_MAX_NAMED])
    return value if type(value) is int and abs(value) <= _MAX_INTEGER else None
