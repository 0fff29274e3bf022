"""One supervised process: started, started again when it dies, stopped gracefully."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from worker.supervisor.home import Home
from worker.supervisor.notes import remove_note, write_note

#: Wait before a process that died is started again: at first, and at most.
BACKOFF_FIRST_S: Final = 0.25
BACKOFF_MOST_S: Final = 5.0
#: A process that ran this long was healthy: the next wait is the first again.
HEALTHY_AFTER_S: Final = 20.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to start, and how patiently to stop it."""

    #: Names the log file and the pid note.
    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    #: Seconds between SIGTERM and SIGKILL.
    grace_s: float = 10.0
    #: Remembered state, deleted when the process dies young, for that may be why it died.
    disposable: tuple[Path, ...] = ()


class Child:
    """Keeps one program running from :meth:`start` to :meth:`stop`."""

    def __init__(self, program: Program, home: Home) -> None:
        self._program = program
        self._home = home
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._keep_running(), name=self._program.name)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after the grace period; returns when it is gone."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _keep_running(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        while not self._stopping.is_set():
            started = time.monotonic()
            ended = await self._run_once()
            if self._stopping.is_set():
                return
            if time.monotonic() - started >= HEALTHY_AFTER_S:
                backoff_s = BACKOFF_FIRST_S
            else:
                self._forget_state()
            log.warning("process ended", process=self._program.name, how=ended, again_in=backoff_s)
            await self._pause(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MOST_S)

    async def _run_once(self) -> str:
        try:
            process = await self._spawn()
        except OSError as error:
            return f"could not be started: {error}"
        ended = asyncio.create_task(process.wait())
        asked = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not ended.done():
            await self._end(process)
        _kill_group(process.pid)
        remove_note(self._home.run, self._program.name)
        return _how(await ended)

    async def _spawn(self) -> asyncio.subprocess.Process:
        """Start it in a session of its own, so that a terminal's Ctrl-C does not reach it."""
        log_file = self._home.open_log(self._program.name)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._program.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                env=self._program.environment,
                cwd=self._home.root,
                start_new_session=True,
            )
        finally:
            os.close(log_file)
        write_note(self._home.run, self._program.name, process.pid, self._program.grace_s)
        return process

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._program.grace_s)
        except TimeoutError:
            log.warning("process killed", process=self._program.name, after=self._program.grace_s)
            _kill_group(process.pid)

    def _forget_state(self) -> None:
        for path in self._program.disposable:
            for file in path.parent.glob(f"{path.name}*"):
                file.unlink(missing_ok=True)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def _kill_group(pid: int) -> None:
    """Kill whatever is left of the process's group, such as a prefork pool."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _how(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
