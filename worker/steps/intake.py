"""Intake: takes a job into the ledger, or refuses it with a reason. Nothing is ever dropped.

One transaction, for all jobs of a merchant that come at one time: lock the orders, look the numbers
up, check, reserve, write orders, refunds, events and announcements (protocol, "Intake"). Whoever
means to send at once has the intent written in it as well, where nothing stands in the way.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from sqlalchemy.exc import IntegrityError

from refundry import InvalidRequest, RefundRequest
from worker.errors import Raced, Refused
from worker.lots import Lane
from worker.runtime import Runtime, suspended_clock
from worker.steps.intake_lot import Accepted, Job, take_together
from worker.steps.refuse import refuse
from worker.steps.sealing import taken_apart

#: Two producers that insert the same number collide once, not many times.
_TRIES: Final = 5

Result = TypeVar("Result")


def take_job(runtime: Runtime, task: str, job: object, *, at_once: bool = False) -> Accepted | None:
    """Accept a job, or record and announce its refusal and return None.

    Raises:
        ServiceAway: the ledger does not answer; the job must be kept and tried again.
    """
    try:
        return accept(runtime, job, at_once=at_once)
    except Refused as refusal:
        refuse(runtime, task, job, refusal)
        return None


def accept(runtime: Runtime, job: object, *, at_once: bool = False) -> Accepted:
    """Accept a job.

    Args:
        runtime: what the steps are given.
        job: as it came.
        at_once: the caller sends what :attr:`Accepted.intent` says, now.

    Raises:
        Refused: it cannot be done; nothing was written and no number is burned.
        ServiceAway: the ledger does not answer.
    """
    return _taken(runtime, read_job(runtime, job, suspended_clock() if at_once else None))


def read_job(runtime: Runtime, job: object, began: float | None = None) -> Job:
    """What a job asks for, held against its account; the ledger is not looked at.

    Raises:
        Refused: it cannot be done, whatever is in the ledger.
    """
    request = _read(job)
    line = runtime.line(request.account)
    problems = line.provider.check(request)
    if request.announce is not None and request.announce.url is not None:
        problems += line.webhooks.problems(request.announce.url)
    if problems:
        raise Refused("invalid", "; ".join(problems), problems)
    request, sealed = taken_apart(runtime, line, request)
    return Job(request=request, line=line, began=began, sealed=sealed)


def _read(job: object) -> RefundRequest:
    try:
        return RefundRequest.read(job)
    except InvalidRequest as error:
        raise Refused("invalid", str(error), error.problems) from None


def _taken(runtime: Runtime, job: Job) -> Accepted:
    merchant = job.line.provider.merchant
    lane: Lane[Job, Accepted | Refused] = runtime.lanes.get(
        ("intake", merchant), partial(take_together, runtime.ledger, merchant)
    )
    result = look_again(lambda: lane.do(job, job.request.refund_no, crowd=job.request.order_no))
    if isinstance(result, Refused):
        raise result
    return result


def look_again(take: Callable[[], Result]) -> Result:
    """Take jobs in; where another intake was first, again: it finds what that one has written."""
    for _ in range(_TRIES - 1):
        with suppress(IntegrityError, Raced):
            return take()
    return take()
