"""The Celery app: ``python -m celery -A worker.app worker|beat|flower``."""

import gc
from typing import Any, Final

import structlog
from celery import Celery, Task, signals
from celery.worker.control import Panel

from config.accounts import load_accounts
from config.celery_options import celery_options
from config.errors import ConfigError
from config.logs import configure_logging
from config.settings import load_settings
from worker.celery_shim import install_shim, only_look
from worker.errors import ServiceAway
from worker.redis_transport import install_transport
from worker.runtime import build_lines

_log = structlog.get_logger(__name__)

#: New objects before Python looks for cycles among them, of which refunds leave few.
_NEW_OBJECTS: Final = 10_000


class LedgerTask(Task):  # type: ignore[misc]  # Celery has no types
    """A ledger that is away is a line a task, not a traceback; a tick or the sweep tries again."""

    throws = (ServiceAway,)

    def on_failure(self, exc: Exception, *_: Any) -> None:
        """Celery's own line about what a task ``throws`` is an info, which nobody would see."""
        if isinstance(exc, ServiceAway):
            _log.warning("task.service_away", task=self.name, error=str(exc))


app = Celery("refundry", set_as_current=True, task_cls=LedgerTask)
app.config_from_object(celery_options(load_settings().broker()))
install_shim()
install_transport()
only_look(Panel)


@signals.setup_logging.connect
def _set_up_logging(**_: object) -> None:
    """Celery leaves logging alone where somebody listens to this signal."""
    configure_logging()


@signals.worker_init.connect
def _refuse_wrong_accounts(**_: object) -> None:
    """A worker with accounts that cannot work does not start; it would refuse every job.

    Celery only logs an ordinary exception of a signal's receiver.
    """
    try:
        build_lines(load_accounts(load_settings().accounts_file()))
    except ConfigError as error:
        raise SystemExit(f"refundry: {error}") from None


@signals.worker_ready.connect
def _collect_less(**_: object) -> None:
    """What was loaded to start stays for good: nobody searches it for garbage ever again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
