"""The test's end of a nursery, the process that forks a child for every run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


class Nursery:
    """A nursery, which lives as long as its context."""

    def __init__(self, broker: str, home: Path) -> None:
        environment = {**os.environ, "REFUNDRY_BROKER_URL": broker, "REFUNDRY_HOME": str(home)}
        self._log = (home / "nursery.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.crash_nursery"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def fork(self, spec: dict[str, Any]) -> Any:
        """Have a child play a spec; ``code`` of the answer is its exit code, None if it stopped."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(spec) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the nursery has died: {Path(self._log.name).read_text()[-2000:]}"
        return json.loads(line)

    def resume(self) -> Any:
        """Let the child go on that has stopped, to its end."""
        return self.fork({"resumes": True})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        assert self._process.wait(10) == 0
        self._process.stdout.close()
        self._log.close()
