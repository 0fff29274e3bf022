"""Structured logging: one JSON object a line, so that no input can forge a second line."""

import logging
import sys

import structlog

from config.visible import json_line

#: These say two lines for every message and tick; the ledger keeps what happened.
_CHATTY = ("celery.app.trace", "celery.worker.strategy", "celery.beat", "alembic")


def configure_logging(level: int = logging.INFO) -> None:
    """Send structlog's and every library's records to standard error as JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(json_line),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Its only warning is a traceback of each job that is put back, which the task has said.
    logging.getLogger("celery.app.trace").setLevel(logging.ERROR)
