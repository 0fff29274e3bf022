"""Notes of the processes that a supervisor started, so that the next one can end what was left."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

from worker.supervisor.home import write_private

_SUFFIX: Final = ".pid"
#: The system reckons a start time from its boot time, which a corrected clock moves a little.
_START_TIME_SLACK_S: Final = 2.0
#: How long a killed process may take to be gone.
_KILL_WAIT_S: Final = 10.0
#: They are not our children, so nothing tells us that they became zombies.
_LOOK_EVERY_S: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class ProcessNote:
    """Who a process is: a pid alone may belong to somebody else by now."""

    name: str
    pid: int
    #: Seconds since the epoch.
    started_at: float
    #: Seconds it may take to end by itself.
    grace_s: float

    def find(self) -> psutil.Process | None:
        """The process, if it still is the one that was noted."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at) < _START_TIME_SLACK_S
        except psutil.NoSuchProcess:
            return None
        return process if same and not _is_zombie(process) else None


def write_note(folder: Path, name: str, pid: int, grace_s: float) -> None:
    """Note a process that was just started; nothing is noted if it has ended already."""
    try:
        started_at = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return
    note = ProcessNote(name=name, pid=pid, started_at=started_at, grace_s=grace_s)
    write_private(folder / f"{name}{_SUFFIX}", json.dumps(asdict(note)))


def remove_note(folder: Path, name: str) -> None:
    """Forget a process that has ended."""
    (folder / f"{name}{_SUFFIX}").unlink(missing_ok=True)


def read_notes(folder: Path) -> list[ProcessNote]:
    """Every note in the folder; an unreadable one is removed."""
    notes = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            notes.append(ProcessNote(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError):
            path.unlink()
    return notes


def end_leftovers(folder: Path, last: str) -> list[str]:
    """End what an earlier supervisor left behind, the process named ``last`` after the others.

    Returns:
        The names of the processes that were ended.
    """
    notes = read_notes(folder)
    ended = _end([note for note in notes if note.name != last])
    ended += _end([note for note in notes if note.name == last])
    for note in notes:
        remove_note(folder, note.name)
    return ended


def _end(notes: Sequence[ProcessNote]) -> list[str]:
    found = [(note, process) for note in notes if (process := note.find()) is not None]
    family = [member for _, process in found for member in _with_children(process)]
    for _, process in found:
        _quietly_terminate(process)
    patience_s = max((note.grace_s for note, _ in found), default=0.0)
    stubborn = _wait_until_gone(family, patience_s)
    for process in stubborn:
        _quietly_kill(process)
    _wait_until_gone(stubborn, _KILL_WAIT_S)
    return [note.name for note, _ in found]


def _wait_until_gone(processes: list[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Those that still run after ``patience_s``; one that only waits to be reaped is gone."""
    give_up_at = time.monotonic() + patience_s
    while processes and time.monotonic() < give_up_at:
        _, alive = psutil.wait_procs(processes, timeout=_LOOK_EVERY_S)
        processes = [process for process in alive if not _is_zombie(process)]
    return processes


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _with_children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def _quietly_terminate(process: psutil.Process) -> None:
    try:
        process.terminate()
    except psutil.NoSuchProcess:
        return  # it ended by itself


def _quietly_kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return  # it ended by itself
