"""``python -m tasks worker`` and ``… beat``: Celery's own commands, with all their options.

``python -m celery -A worker.app`` starts the same; but it loads every command that there is into
each process, Flower and a shell among them, which takes a dozen MiB.
"""

import sys
from typing import Any, Final

import click
from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.worker import worker

from config.errors import ConfigError

_COMMANDS: Final = click.Group(commands=[worker, beat], help=__doc__)


def main() -> None:
    """Begin as Celery's entry point does."""
    # structlog loads what prints colours where there is some; it takes four MiB of a process
    sys.modules["rich"] = None  # type: ignore[assignment]
    context = CLIContext(app=_app(), no_color=False, workdir=None)
    _COMMANDS(prog_name="python -m tasks", obj=context, auto_envvar_prefix="CELERY")


def _app() -> Any:
    """The app reads the settings when it is imported."""
    try:
        from worker.app import app
    except ConfigError as error:
        raise SystemExit(f"refundry: {error}") from None
    return app


if __name__ == "__main__":
    main()
