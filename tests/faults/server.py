"""A server process that a test owns: started, stopped, killed, frozen."""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar, Final, Self

import psutil

from tests.e2e.service import eventually
from worker.supervisor.ports import find_free_port

#: RabbitMQ takes about six seconds to start or to stop, on a busy machine some more.
_PATIENCE_S: Final = 60.0


def program(name: str, package: str, path: str | None = None) -> str:
    """Path of a program that a Debian package brings; no skip, or the faults go untested."""
    found = shutil.which(name, path=path)
    assert found, f"{name} is missing: apt install {package}"
    return found


class Server:
    """A server process below a folder, on a port of its own; in its context it runs."""

    #: What asks for an orderly end.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = find_free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self._prepare()
        for command in self._commands():
            self._processes.append(self._run(command))
        eventually(self._is_up, f"{type(self).__name__} answers")
        return self

    def stop(self) -> None:
        """An orderly end."""
        self.thaw()
        for process in self._processes:
            process.send_signal(self.stop_signal)
        self._wait()

    def kill(self) -> None:
        """SIGKILL to every process of it, as the end of memory or of a machine would."""
        self._signal(signal.SIGKILL)
        self._wait()

    def restart(self) -> None:
        """An orderly end and a new start, on the same port and data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Connections stay open and nothing answers any more, until :meth:`thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after :meth:`freeze`."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _prepare(self) -> None:
        """What has to be there before it starts."""

    def _commands(self) -> list[list[str]]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.folder)}

    def _user(self) -> str | None:
        return None

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=self._environment(),
                cwd=self.folder,
                user=self._user(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _is_up(self) -> bool:
        codes = [process.poll() for process in self._processes]
        log = self.folder / "server.log"
        assert not any(code is not None for code in codes), (codes, log.read_text()[-2000:])
        return self._answers()

    def _signal(self, number: int) -> None:
        """To every process; a parent first, so that it makes no new children meanwhile."""
        for process in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                parent = psutil.Process(process.pid)
                if number != signal.SIGCONT:
                    parent.suspend()
                for one in [*parent.children(recursive=True), parent]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.send_signal(number)

    def _wait(self) -> None:
        for process in self._processes:
            process.wait(_PATIENCE_S)
        self._processes.clear()
