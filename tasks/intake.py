"""``refunds.request`` and ``refunds.resubmit``: what producers ask for."""

import time
from typing import Any, Final

import structlog
from celery.exceptions import Reject

from refundry import TASK_REQUEST, TASK_RESUBMIT
from worker.app import app
from worker.errors import Refused, ServiceAway
from worker.runtime import Runtime, get_runtime
from worker.steps.command import resubmit_refund
from worker.steps.intake import take_job
from worker.steps.personal import refuse_personal
from worker.steps.refuse import refuse
from worker.wake import wake

_log = structlog.get_logger(__name__)

#: A job that can be neither taken nor refused now (the ledger is away, the accounts cannot be read)
#: goes back to its queue after this, so that it never spins.
_PUT_BACK_S: Final = 2.0


@app.task(name=TASK_REQUEST, typing=False)
def request(*args: Any, **job: Any) -> None:
    """Take a refund into the ledger; the job's fields are :class:`refundry.RefundRequest`'s."""
    _keep_while_away(_request, args, job)


@app.task(name=TASK_RESUBMIT, typing=False)
def resubmit(*args: Any, **job: Any) -> None:
    """Send a failed refund again: ``account, refund_no, after_attempt``."""
    _keep_while_away(_resubmit, args, job)


def _request(runtime: Runtime, job: Any) -> None:
    if refuse_personal(runtime, TASK_REQUEST, job):
        return
    accepted = take_job(runtime, TASK_REQUEST, job)
    if accepted is not None:
        wake([accepted.order_id])


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


def _keep_while_away(step: Any, args: tuple[Any, ...], job: dict[str, Any]) -> None:
    """Run a step; any fault refuses the job, and a refusal that cannot be recorded puts it back."""
    given: Any = {"args": list(args), "kwargs": job} if args else job
    try:
        _run(step, given)
    except Exception as error:
        _log.warning("intake.put_back", error=f"{type(error).__name__}: {error}")
        time.sleep(_PUT_BACK_S)
        raise Reject(str(error), requeue=True) from None


def _run(step: Any, job: Any) -> None:
    runtime = get_runtime()
    try:
        step(runtime, job)
    except ServiceAway:
        raise
    except Exception as error:
        _log.exception("intake.fault")
        fault = Refused("internal", f"the service failed on this job ({type(error).__name__})")
        refuse(runtime, TASK_REQUEST, job, fault)
