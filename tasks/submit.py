"""``refunds.submit``: works on one order."""

from config.celery_options import TASK_SUBMIT
from worker.app import app
from worker.runtime import get_runtime
from worker.steps import submit as step
from worker.wake import wake


@app.task(name=TASK_SUBMIT)
def submit(order_id: int) -> None:
    """Send what is due of the order; what is left after ten seconds is a message of its own."""
    if step.submit(get_runtime(), order_id):
        wake([order_id])
