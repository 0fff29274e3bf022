"""A ``refundry up`` of a test's own, in a home folder of its own."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil
import redis

#: Nothing in these tests takes longer, even on a busy machine.
PATIENCE_S = 120.0


class Service:
    """``refundry up`` as a child process; leaving the context stops it and what it left."""

    def __init__(self, home: Path, *options: str, **environment: str) -> None:
        self.home = home
        self.command = [sys.executable, "-m", "worker.cli", "up", *options]
        self.environment = {**clean_environment(), "REFUNDRY_HOME": str(home), **environment}
        self.urls: dict[str, str] = {}

    def start(self) -> Self:
        """Start it and wait for its ``ready`` line, whose URLs are then in :attr:`urls`."""
        with self.error_file.open("ab") as errors:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.stop()
            raise AssertionError(f"not ready: {line!r} {self.error_file.read_text()}")
        self.urls = dict(word.split("=", 1) for word in shlex.split(line)[1:])
        return self

    @property
    def error_file(self) -> Path:
        """What it wrote to standard error so far."""
        return self.home.parent / f"{self.home.name}.stderr"

    def pid_of(self, name: str) -> int:
        """The noted pid of one of its children; 0 between two lives."""
        try:
            return int(json.loads((self.home / "run" / f"{name}.pid").read_text())["pid"])
        except FileNotFoundError:
            return 0

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.stop()
        for process in children_of(self.home):
            process.kill()


def clean_environment() -> dict[str, str]:
    """This process's environment without anybody's Refundry, Celery or Flower settings."""
    ours = ("REFUNDRY_", "CELERY_", "FLOWER_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def children_of(home: Path) -> list[psutil.Process]:
    """Every process that works in the home folder, noted or not."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(home):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            continue
    return found


def redis_answers(url: str) -> bool:
    """Whether a Redis is there."""
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def eventually(
    check: Callable[[], bool],
    what: str,
    seen: Callable[[], object] = str,
    patience_s: float = PATIENCE_S,
) -> None:
    """Wait until ``check`` holds; ``seen`` is told where it does not."""
    give_up_at = time.monotonic() + patience_s
    while not check():
        assert time.monotonic() < give_up_at, f"not in {patience_s:g} s: {what} {seen()}"
        time.sleep(0.1)
