"""``refunds.poll`` and ``refunds.sweep``: beat's ticks."""

from config.celery_options import TASK_POLL, TASK_SWEEP
from worker.app import app
from worker.runtime import get_runtime
from worker.steps import poll as poll_step
from worker.steps import sweep as sweep_step
from worker.wake import wake


@app.task(name=TASK_POLL)
def poll() -> None:
    """Ask about the refunds that are due."""
    wake(poll_step.poll(get_runtime()).wake)


@app.task(name=TASK_SWEEP, send_events=False)
def sweep() -> None:
    """Find what nobody works on. Flower does not see it: it would see little else."""
    wake(sweep_step.sweep(get_runtime()).wake)
