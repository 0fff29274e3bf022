"""Commands in processes of their own, and what they took: seconds and memory."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.service import clean_environment

#: The command, and at its end the kernel's record of it; rusage would count the tests' own memory.
WATCHED = """
import atexit, sys
from pathlib import Path
kept = Path(sys.argv.pop(1))
atexit.register(lambda: kept.write_text(Path("/proc/self/status").read_text()))
from worker.cli import main
main()
"""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """The most memory that a command had, and what it printed last."""

    kib: int
    shown: dict[str, Any]


class Watched:
    """An installation on a database that is there; nobody listens where its broker should be."""

    def __init__(self, folder: Path, database_url: str, accounts: str) -> None:
        (folder / "accounts.toml").write_text(accounts)
        self.folder = folder
        self.environment = clean_environment() | {
            "REFUNDRY_HOME": str(folder / "home"),
            "REFUNDRY_ACCOUNTS": str(folder / "accounts.toml"),
            "REFUNDRY_DATABASE_URL": database_url,
            "REFUNDRY_BROKER_URL": "redis://127.0.0.1:9/0",
        }

    def begun(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A command that is at work; its memory and what it prints are kept in files."""
        command = [sys.executable, "-c", WATCHED, str(self.folder / "status"), *arguments]
        with (self.folder / "printed").open("wb") as out:
            return subprocess.Popen([*command, "--json"], env=self.environment, stdout=out)

    def __call__(self, *arguments: str, code: int = 0) -> Ran:
        """Run a command to its end."""
        begin = time.monotonic()
        assert self.begun(*arguments).wait() == code
        seconds = time.monotonic() - begin
        status = (self.folder / "status").read_text()
        kib = int(status.partition("VmHWM:")[2].split()[0])
        print(f"{' '.join(arguments)}: {seconds:.1f} s, {kib / 1024:.0f} MiB")
        lines = (self.folder / "printed").read_text().splitlines()
        return Ran(kib=kib, shown=json.loads(lines[-1]))
