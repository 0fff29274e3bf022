"""The producer: a process of its own that has only the client."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from worker.cli.demonstration.batch import DemoRefund
from worker.errors import Refused, ServiceAway

_SCRIPT: Final = Path(__file__).parents[3] / "examples" / "producer.py"
_PATIENCE_S: Final = 30.0


class Producer:
    """``examples/producer.py`` as a child process; leaving the context ends it.

    Raises:
        Refused: there is no checkout, hence no example.
    """

    def __init__(self, broker_url: str) -> None:
        if not _SCRIPT.exists():
            raise Refused("no_checkout", "the demonstration needs a checkout, with examples/")
        self._process = subprocess.Popen(
            (sys.executable, "-P", str(_SCRIPT), broker_url),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # a Ctrl-C is ours to handle
        )

    def ask_for(self, refunds: Iterable[DemoRefund]) -> None:
        """Hand over refunds to send.

        Raises:
            ServiceAway: the producer has ended, for the reason it gave on standard error.
        """
        assert self._process.stdin is not None
        try:
            for refund in refunds:
                self._process.stdin.write(f"{json.dumps(refund.job())}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ServiceAway("the producer has ended") from None

    def finish(self) -> None:
        """Wait until everything is sent.

        Raises:
            ServiceAway: it could not send everything.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait(_PATIENCE_S) != 0:
            raise ServiceAway("the producer could not send everything")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
