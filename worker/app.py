"""The Celery app: ``python -m celery -A worker.app worker|beat|flower``."""

from celery import Celery, signals

from config.accounts import load_accounts
from config.celery_options import celery_options
from config.errors import ConfigError
from config.logs import configure_logging
from config.settings import load_settings
from worker.celery_shim import install_shim
from worker.runtime import build_lines

app = Celery("refundry", set_as_current=True)
app.config_from_object(celery_options(load_settings().broker()))
install_shim()


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
