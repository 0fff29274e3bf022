"""The demonstrated service: a ``refundry up --demo`` of its own, or the one that runs already."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Self

from config.settings import Settings
from worker.cli.output import print_line
from worker.errors import Refused, ServiceAway
from worker.supervisor.home import Home

#: ``-P``: a folder named ``worker`` where the operator stands must not be taken for ours.
_COMMAND: Final = (sys.executable, "-P", "-m", "worker.cli", "up", "--demo", "--until-stdin-closes")
#: An earlier supervisor whose starter was killed stops by itself; its calls end within this.
_STOP_PATIENCE_S: Final = 60.0
_LOOK_EVERY_S: Final = 0.2


class DemoService:
    """A context: the service is ready inside, and what was started here is stopped at its end."""

    def __init__(self, settings: Settings) -> None:
        self._home = Home(root=settings.home)
        self._process: subprocess.Popen[str] | None = None
        self.urls: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._home.prepare()
        try:
            line = self._ready_line_of_running() or self._start()
        except BaseException:  # Ctrl-C too, which would leave while the service still stops
            self.stop()
            raise
        self.urls = dict(word.split("=", 1) for word in shlex.split(line)[1:])
        if "simulator" not in self.urls:
            raise Refused(
                "not_a_demo", "a `refundry up` without --demo runs in this home: stop it first"
            )
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def is_ours(self) -> bool:
        """Whether it was started here."""
        return self._process is not None

    def check(self) -> None:
        """Raises ServiceAway if the supervisor has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise ServiceAway(f"`refundry up --demo` has ended; see {self._log}")

    def wait(self) -> None:
        """Until the supervisor ends."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """Stop what was started here, gracefully."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def _log(self) -> Path:
        return self._home.logs / "supervisor.log"

    def _start(self) -> str:
        """Its standard input is our lifeline: it ends when we are gone, however we ended."""
        log = self._home.open_log("supervisor")
        try:
            self._process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        finally:
            os.close(log)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("ready "):
            raise ServiceAway(f"`refundry up --demo` did not get ready; see {self._log}")
        return line

    def _ready_line_of_running(self) -> str | None:
        """The line of a supervisor that serves this home; waits for one that is not ready."""
        give_up_at = time.monotonic() + _STOP_PATIENCE_S
        while time.monotonic() < give_up_at:
            try:
                self._home.lock().close()
            except Refused as running:
                problem = running
            else:
                return None
            if self._home.ready_note.exists():
                print_line("a demonstration already runs in this home: using it")
                return self._home.ready_note.read_text(encoding="utf-8")
            time.sleep(_LOOK_EVERY_S)
        raise problem
