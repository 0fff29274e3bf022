"""``refunds.reconcile``: beat's tick that begins the runs of what is over, and advances them."""

from config.celery_options import TASK_RECONCILE
from worker.app import app
from worker.runtime import get_runtime
from worker.steps import reconcile as step


@app.task(name=TASK_RECONCILE, send_events=False)
def reconcile() -> None:
    """Work on the runs for some seconds. Flower does not see it; ``statement report`` does."""
    runtime = get_runtime()
    for run_id in step.begin_due(runtime):
        for _ in step.advance_on(runtime, run_id):
            pass
