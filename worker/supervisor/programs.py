"""The command lines of workers, beat, gateway and Flower, and the environment they share."""

import os
import socket
import sys
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from config.accounts import Account
from config.settings import Settings
from worker.supervisor.home import Home, write_private
from worker.supervisor.ports import HOST, fixed_port, kept_port
from worker.supervisor.program import Program

#: What a worker's grace period adds to the longest call.
GRACE_MARGIN_S: Final = 5.0
#: The longest call where no account says otherwise: send deadline and total time of a call.
_LONGEST_CALL_S: Final = 25.0

_CELERY: Final = (sys.executable, "-m", "tasks")
_FLOWER: Final = (sys.executable, "-m", "celery", "-A", "worker.app", "flower")
#: So that 32 threads do not each keep memory of their own that nobody uses: glibc's malloc makes
#: eight arenas a core, which an interpreter that lets one thread compute at a time has no use for.
SPARING: Final = {"MALLOC_ARENA_MAX": "2"}
#: What the gateway takes to stop, and some seconds.
_GATEWAY_GRACE_S: Final = 20.0
#: Strict types: Flower refuses ``60.0`` where it wants ``60``.
_FLOWER_OPTIONS: Final[dict[str, object]] = {
    "address": HOST,
    "read_only": True,
    "persistent": True,
    "state_save_interval": 10_000,
    "max_tasks": 20_000,
    "purge_offline_workers": 60,
    "tasks_columns": "name,state,args,kwargs,received,runtime,worker",
}


def explicit_environment(settings: Settings, accounts: Path) -> dict[str, str]:
    """The variables that make every default explicit, so that no child can see another one.

    Raises:
        ConfigError: the broker is not a Redis, and none is named for the locks.
    """
    named = accounts if accounts.exists() else Path(os.devnull)  # no accounts, and on purpose
    return {
        "REFUNDRY_HOME": str(settings.home),
        "REFUNDRY_BROKER_URL": settings.broker(),
        "REFUNDRY_REDIS_URL": settings.redis(),
        "REFUNDRY_DATABASE_URL": settings.database(),
        "REFUNDRY_ACCOUNTS": str(named.absolute()),
    }


def worker_names(home: Home, count: int) -> list[str]:
    """Celery node names, unlike those of any other home on this machine."""
    tag = sha256(str(home.root).encode()).hexdigest()[:6]
    return [f"worker-{number}-{tag}@{socket.gethostname()}" for number in range(1, count + 1)]


def worker_grace_s(accounts: Iterable[Account]) -> float:
    """Seconds a worker may take to stop: longer than its longest call to a provider."""
    calls = (account.send_deadline_s + account.total_timeout_s for account in accounts)
    return max(calls, default=_LONGEST_CALL_S) + GRACE_MARGIN_S


def worker_programs(
    names: list[str], grace_s: float, environment: Mapping[str, str]
) -> list[Program]:
    """A worker process a name; each has a thread pool."""
    options = ("--loglevel=INFO", "--without-gossip", "--without-mingle")
    return [
        Program(
            name=f"worker-{number}",
            argv=(*_CELERY, "worker", "-n", name, *options),
            environment={**SPARING, **environment},
            grace_s=grace_s,
        )
        for number, name in enumerate(names, start=1)
    ]


def beat_program(environment: Mapping[str, str]) -> Program:
    """The ticks."""
    argv = (*_CELERY, "beat", "--loglevel=INFO")
    return Program(name="beat", argv=argv, environment=environment)


def gateway_url(home: Home, settings: Settings) -> str:
    """Where the gateway is to listen; known before it runs, for accounts may name it.

    Raises:
        ConfigError: the port that the settings name is taken.
    """
    if settings.gateway_port is not None:
        port = fixed_port("REFUNDRY_GATEWAY_PORT", settings.gateway_port)
    else:
        port = kept_port(home.run / "gateway.port")
    return f"http://{HOST}:{port}"


def gateway_program(url: str, environment: Mapping[str, str]) -> Program:
    """HTTP, on the port of the URL."""
    port = url.rpartition(":")[2]
    return Program(
        name="gateway",
        argv=(sys.executable, "-m", "gateway", f"--host={HOST}", f"--port={port}"),
        environment=environment,
        grace_s=_GATEWAY_GRACE_S,
    )


def flower_program(
    home: Home, settings: Settings, environment: Mapping[str, str]
) -> tuple[Program, str]:
    """Flower and its URL. Its password stands in a private file, not on the command line."""
    port = _flower_port(home, settings)
    database = home.state / "flower"
    options = {**_FLOWER_OPTIONS, "port": port, "db": str(database)}
    if settings.flower_auth is not None:
        options["basic_auth"] = [settings.flower_auth.get_secret_value()]
    else:
        environment = {**environment, "FLOWER_UNAUTHENTICATED_API": "true"}
    config = home.run / "flower_config.py"
    write_private(config, "".join(f"{name} = {value!r}\n" for name, value in options.items()))
    program = Program(
        name="flower",
        argv=(*_FLOWER, f"--address={HOST}", f"--port={port}", f"--conf={config}"),
        environment=environment,
        disposable=(database,),
    )
    return program, f"http://{HOST}:{port}"


def _flower_port(home: Home, settings: Settings) -> int:
    if settings.flower_port is not None:
        return fixed_port("REFUNDRY_FLOWER_PORT", settings.flower_port)
    return kept_port(home.run / "flower.port")


def default_workers() -> int:
    """A worker process a core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
