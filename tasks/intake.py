"""``refunds.request`` and ``refunds.resubmit``: what producers ask for."""

import time
from typing import Any, Final

import structlog
from celery.exceptions import Reject

from config.errors import ConfigError
from refundry import TASK_REQUEST, TASK_RESUBMIT
from worker.app import app
from worker.errors import RefundryError, Refused, ServiceAway
from worker.runtime import Runtime, get_runtime
from worker.steps.command import resubmit_refund
from worker.steps.faults import fault
from worker.steps.intake import take_job
from worker.steps.intake_lot import Accepted
from worker.steps.personal import refuse_personal
from worker.steps.refuse import refuse
from worker.steps.submit import send, submit
from worker.wake import wake

_log = structlog.get_logger(__name__)

#: A job that can be neither taken nor refused now (the ledger is away, the accounts cannot be read)
#: goes back to its queue after this, so that it never spins.
_PUT_BACK_S: Final = 2.0


@app.task(name=TASK_REQUEST, typing=False)
def request(*args: Any, **job: Any) -> None:
    """Take a refund into the ledger; the job's fields are :class:`refundry.RefundRequest`'s."""
    accepted = _keep_while_away(_request, args, job)
    if accepted is not None:
        _go_on(get_runtime(), accepted)


@app.task(name=TASK_RESUBMIT, typing=False)
def resubmit(*args: Any, **job: Any) -> None:
    """Send a failed refund again: ``account, refund_no, after_attempt``."""
    _keep_while_away(_resubmit, args, job)


def _request(runtime: Runtime, job: Any) -> Accepted | None:
    if refuse_personal(runtime, TASK_REQUEST, job):
        return None
    return take_job(runtime, TASK_REQUEST, job, at_once=True)


def _go_on(runtime: Runtime, accepted: Accepted) -> None:
    """Send what was begun, else have it looked at; it is accepted, whatever fails here."""
    order_id = accepted.order_id
    if accepted.intent is None:
        if not accepted.waits:
            wake([order_id])
    elif send(runtime, accepted.intent) and submit(runtime, order_id):
        wake([order_id])


def _resubmit(runtime: Runtime, job: Any) -> None:
    try:
        account, refund_no, after = _resubmission(job)
        wake([resubmit_refund(runtime, account, refund_no, after)])
    except Refused as refusal:
        refuse(runtime, TASK_RESUBMIT, job, refusal)


def _resubmission(job: Any) -> tuple[str, str, int]:
    wanted = {"account": str, "refund_no": str, "after_attempt": int}
    if not isinstance(job, dict) or set(job) != set(wanted):
        raise Refused("invalid", f"a resubmission has exactly: {', '.join(wanted)}")
    for name, kind in wanted.items():
        if type(job[name]) is not kind:
            raise Refused("invalid", f"{name} must be {kind.__name__}, not {job[name]!r:.60}")
    return job["account"], job["refund_no"], job["after_attempt"]


def _keep_while_away(step: Any, args: tuple[Any, ...], job: dict[str, Any]) -> Any:
    """Run a step; any fault refuses the job, and a refusal that cannot be recorded puts it back."""
    given: Any = {"args": list(args), "kwargs": job} if args else job
    try:
        return _run(step, given)
    except Exception as error:
        _log.warning("intake.put_back", **fault(error), why=_told(error))
        time.sleep(_PUT_BACK_S)
        raise Reject(type(error).__name__, requeue=True) from None


def _told(error: Exception) -> str:
    """The words of our own errors; others may hold a part of the job."""
    return str(error) if isinstance(error, RefundryError | ConfigError) else ""


def _run(step: Any, job: Any) -> Any:
    runtime = get_runtime()
    try:
        return step(runtime, job)
    except ServiceAway:
        raise
    except Exception as error:
        _log.error("intake.fault", **fault(error))
        said = f"the service failed on this job ({type(error).__name__})"
        refuse(runtime, TASK_REQUEST, job, Refused("internal", said))
        return None
