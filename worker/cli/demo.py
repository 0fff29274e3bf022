"""``refundry demo``: the main job on real processes, with a batch of refunds that go wrong."""

import signal
from types import FrameType
from typing import Annotated, NoReturn

import typer

from config.settings import load_settings
from worker.cli.demonstration.run import Demonstration
from worker.cli.demonstration.service import DemoService
from worker.cli.output import EXIT_DONE, EXIT_REFUSED, print_line


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Stop after the batch; exit 0 only if all is right.")
    ] = False,
) -> None:
    """Run the service with simulated providers, and a batch of refunds through it."""
    signal.signal(signal.SIGTERM, _interrupt)
    right = False
    try:
        print_line("starting broker, workers, beat, Flower and the simulated providers")
        with DemoService(load_settings()) as service:
            right = Demonstration(service, load_settings()).run()
            if not once:
                _serve(service)
    except KeyboardInterrupt:
        print_line("stopped")
    raise SystemExit(EXIT_DONE if right else EXIT_REFUSED)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _serve(service: DemoService) -> None:
    if service.is_ours:
        print_line("serving until Ctrl-C")
        service.wait()
        service.check()
