"""A wall clock that a test sets wrong for some processes, while the machine's stays right."""

import struct
import subprocess
from pathlib import Path
from typing import Final

from tests.faults.server import program

_SOURCE: Final = Path(__file__).with_name("clock_step.c")


class WrongClock:
    """What a process needs in its environment, and how wrong it is from now on."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "step"
        self.step(0)
        library = folder / "clock_step.so"
        compiler = program("gcc", "gcc libc6-dev")
        options = ["-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE)]
        subprocess.run([compiler, *options], check=True)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_STEP_FILE": str(self._file)}

    def step(self, seconds: int) -> None:
        """Every process with the environment is so many seconds ahead, or behind."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))
