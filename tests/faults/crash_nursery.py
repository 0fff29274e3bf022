"""A process that has everything loaded and no threads, and forks a child for every line it reads.

``python -m tests.faults.crash_nursery``: a spec a line on standard input, what became of the child
a line on standard output.
"""

import gc
import json
import os
import signal
import sys
import traceback
from typing import Any

from tests.faults.crash_child import Spec, play, warm

#: What a child whose steps raised exits with.
FAILED = 1


class _Child:
    """A fork, and the pipe that it tells by."""

    def __init__(self, spec: Spec) -> None:
        told, tells = os.pipe()
        self._stops = bool(spec["point"]) and spec["point"]["stops"]
        self._pid = os.fork()
        if not self._pid:
            os.close(told)
            _live(spec, tells)
        os.close(tells)
        self._lines = os.fdopen(told, "rb")

    def follow(self) -> Spec:
        """Wait until it ends or stops; what it told until then."""
        told: Spec = {}
        for line in self._lines:
            told |= json.loads(line)
            if self._stops and "at" in told:
                os.waitpid(self._pid, os.WUNTRACED)
                return told | {"code": None}
        self._lines.close()
        _, status = os.waitpid(self._pid, 0)
        return told | {"code": os.waitstatus_to_exitcode(status)}

    def kill(self) -> None:
        """It is not needed any more."""
        os.kill(self._pid, signal.SIGKILL)

    def go_on(self) -> Spec:
        self._stops = False
        os.kill(self._pid, signal.SIGCONT)
        return self.follow()


def _live(spec: Spec, tells: int) -> None:
    """The child's whole life; it never returns."""

    def tell(**said: Any) -> None:
        line = json.dumps(said, default=str).encode() + b"\n"
        while line:
            line = line[os.write(tells, line) :]

    try:
        tell(**play(spec, tell))
    except BaseException:
        tell(error=traceback.format_exc()[-3000:])
        os._exit(FAILED)
    os._exit(0)


def main() -> None:
    """Fork for every line, until there are no more."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # logs are no answers
    stopped: _Child | None = None
    for line in sys.stdin:
        spec = json.loads(line)
        if spec.get("warms"):
            warm(spec)
            gc.freeze()  # so that no child copies what it does not touch
            told = {"code": 0}
        elif spec.get("resumes"):
            assert stopped is not None
            told, stopped = stopped.go_on(), None
        else:
            child = _Child(spec)
            told = child.follow()
            stopped = child if told["code"] is None else stopped
        print(json.dumps(told), file=answers, flush=True)
    if stopped is not None:
        stopped.kill()


if __name__ == "__main__":
    main()
