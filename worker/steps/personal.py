"""Personal data never travels in a task, where brokers, Flower and logs keep it.

The gateway takes it: :func:`worker.steps.intake.accept` allows these fields.
"""

from worker.errors import Refused
from worker.personal import personal_in
from worker.runtime import Runtime
from worker.steps.refuse import refuse


def refuse_personal(runtime: Runtime, task: str, job: object) -> bool:
    """Refuse a task's job that says who a person is; False if it does not.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    found = personal_in(job, runtime.personal_names)
    if not found:
        return False
    fields = ", ".join(sorted(found))
    said = f"{fields}: personal data never travels in a task; send this refund to the gateway"
    refuse(runtime, task, job, Refused("personal_data", said))
    return True
