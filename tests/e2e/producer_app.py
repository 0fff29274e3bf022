"""A producer's own Celery application: it notes every announcement in a file.

``python -m celery -A tests.e2e.producer_app worker`` with ``PRODUCER_BROKER`` and
``PRODUCER_FILE`` in the environment.
"""

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery

app = Celery("shop", broker=os.environ["PRODUCER_BROKER"])
app.conf.task_ignore_result = True


@app.task(name="shop.refund_announced")
def refund_announced(**announcement: Any) -> None:
    with Path(os.environ["PRODUCER_FILE"]).open("a") as file:
        file.write(json.dumps(announcement) + "\n")


def ask_without_the_package(job: dict[str, Any]) -> None:
    """What an application without the client does."""
    app.send_task("refunds.request", kwargs=job, queue="refunds.intake")
