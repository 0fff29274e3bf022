"""What the bench asks of every contender, and what most of them do alike."""

import subprocess
import sys
from typing import Protocol

import psutil

from bench.site import ROOT, Job, Site


class Contender(Protocol):
    """One way to pay refunds out."""

    name: str

    def prepare(self, site: Site) -> None:
        """Make its tables and whatever it hands jobs over by; nobody works yet."""

    def hire(self) -> None:
        """Start its processes; returns once they wait for work."""

    def enqueue(self, jobs: list[Job]) -> None:
        """Hand jobs over, as its producers would."""

    def finished(self) -> int:
        """Refunds that are final by its own book."""

    def processes(self) -> list[psutil.Process]:
        """Those whose time counts: workers and beat, with their children."""

    def stop(self) -> None:
        """End its processes."""


class Crew:
    """Processes of a contender, each with a file for what it writes."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._running: list[subprocess.Popen[str]] = []

    def hire(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start ``python -m …``; its errors go to a file, its output to a pipe."""
        with (self._site.folder / f"{name}.log").open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env={**self._site.environment, **environment},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._running.append(process)
        return process

    def processes(self) -> list[psutil.Process]:
        """All of them, and their children."""
        found = [psutil.Process(process.pid) for process in self._running]
        return [one for process in found for one in [process, *process.children(recursive=True)]]

    def dismiss(self) -> None:
        """End all of them, by their ids."""
        everyone = self.processes()
        for process in self._running:
            process.terminate()
        _, alive = psutil.wait_procs(everyone, timeout=20)
        for one in alive:
            one.kill()
        for process in self._running:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
