"""``refunds.keeping``: beat's tick that purges, seals anew, and archives what is due.

And ends sessions that fell silent: not everybody waits for the rows that they keep.
"""

from config.celery_options import TASK_KEEPING
from worker.app import app
from worker.runtime import get_runtime
from worker.steps.archive import archive_for_a_while
from worker.steps.keeping import tidy


@app.task(name=TASK_KEEPING, send_events=False)
def keep() -> None:
    """For some seconds. Flower does not see it."""
    get_runtime().ledger.end_silent_sessions()
    tidy(get_runtime())
    archive_for_a_while(get_runtime())
