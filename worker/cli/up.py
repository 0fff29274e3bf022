"""``refundry up``: everything under one supervisor."""

import asyncio
import os
from typing import Annotated

import typer

from config.logs import configure_logging
from config.settings import load_settings
from worker.cli.output import print_line
from worker.supervisor.home import Home
from worker.supervisor.programs import default_workers
from worker.supervisor.supervise import Options, Supervisor

#: Everything the service writes is its owner's alone.
_PRIVATE: int = 0o077


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Add the simulated providers and accounts for them.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes.", show_default="one a core")
    ] = None,
    until_stdin_closes: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Start broker, workers, beat, gateway and Flower; serve until SIGTERM or Ctrl-C."""
    configure_logging()
    os.umask(_PRIVATE)
    settings = load_settings()
    home = Home(root=settings.home)
    home.prepare()
    options = Options(
        workers=workers or default_workers(), demo=demo, until_stdin_closes=until_stdin_closes
    )
    with home.lock():
        asyncio.run(Supervisor(settings, options, print_line).run())
