"""The home folder: where its parts lie, and the lock that one supervisor holds."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from config.errors import ConfigError
from worker.errors import Refused

#: Everything below home is its owner's alone.
_PRIVATE_FOLDER = 0o700
_PRIVATE_FILE = 0o600


@dataclass(frozen=True, kw_only=True)
class Home:
    """Paths below ``$REFUNDRY_HOME``; :meth:`prepare` makes the folders."""

    #: Absolute.
    root: Path

    @property
    def logs(self) -> Path:
        """A log file a process."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Lock, pid notes, ports: what describes the running service."""
        return self.root / "run"

    @property
    def state(self) -> Path:
        """What beat and Flower remember; may be deleted while they are down."""
        return self.root / "state"

    @property
    def valkey(self) -> Path:
        """Data of the embedded Valkey."""
        return self.root / "valkey"

    @property
    def ready_note(self) -> Path:
        """Holds the ``ready`` line while the service is ready."""
        return self.run / "ready"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            ConfigError: they cannot be made, or are not ours to write.
        """
        folders = (self.root, self.logs, self.run, self.state, self.valkey)
        try:
            for folder in folders:
                folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"REFUNDRY_HOME: cannot use {self.root}: {error}") from None
        for folder in folders:
            if not os.access(folder, os.W_OK | os.X_OK):
                raise ConfigError(
                    f"REFUNDRY_HOME: {folder} is not writable for this user: "
                    "make it so, or name another folder"
                )

    def open_log(self, name: str) -> int:
        """File descriptor that appends to ``logs/<name>.log``."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self.logs / f"{name}.log", flags, _PRIVATE_FILE)

    def lock(self) -> TextIO:
        """Take the home folder; closing the file, or the process's end, gives it back.

        Raises:
            Refused: naming the process that has it.
        """
        file = (self.run / "supervisor.lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().strip()
            file.close()
            raise Refused(
                "already_running",
                f"a supervisor already runs in {self.root} (process {pid}): stop it first",
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        return file


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` in one step by a file that only its owner can read."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE_FILE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
