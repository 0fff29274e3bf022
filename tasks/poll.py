"""``refunds.look`` and ``refunds.sweep``, beat's ticks, and ``refunds.poll``, which asks."""

from config.celery_options import TASK_LOOK, TASK_POLL, TASK_SWEEP
from worker.app import app
from worker.runtime import get_runtime
from worker.steps import poll as poll_step
from worker.steps import sweep as sweep_step
from worker.wake import have_asked, wake


@app.task(name=TASK_LOOK, send_events=False)
def look() -> None:
    """Have every account asked for that has questions due. Flower shows only the asking."""
    have_asked(poll_step.accounts_due(get_runtime()))


@app.task(name=TASK_POLL)
def poll(account: str) -> None:
    """Ask about the account's refunds that are due."""
    for polled in poll_step.poll_on(get_runtime(), account):
        wake(polled.wake)


@app.task(name=TASK_SWEEP, send_events=False)
def sweep() -> None:
    """Find what nobody works on. Flower does not see it: it would see little else."""
    wake(sweep_step.sweep(get_runtime()).wake)
