"""Ports on 127.0.0.1: found, then kept across restarts while they stay free."""

import random
import socket
from pathlib import Path
from typing import Final

from config.errors import ConfigError
from worker.supervisor.home import write_private

HOST: Final = "127.0.0.1"
#: Below the ranges from which Linux and macOS take the ports of outgoing connections: a client
#: that keeps reconnecting could otherwise connect to itself and hold the server's port.
_RANGE: Final = range(20_000, 32_000)
_TRIES: Final = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True


def find_free_port() -> int:
    """A port that nobody listens on.

    Raises:
        ConfigError: nearly every port is taken.
    """
    for port in random.SystemRandom().sample(_RANGE, _TRIES):
        if is_free(port):
            return port
    raise ConfigError(f"no free port on {HOST} between {_RANGE.start} and {_RANGE.stop}")


def kept_port(note: Path) -> int:
    """The port in ``note`` if it is free, else another one, which is noted."""
    try:
        port = int(note.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        port = 0
    if port not in _RANGE or not is_free(port):
        port = find_free_port()
        write_private(note, f"{port}\n")
    return port


def fixed_port(variable: str, port: int) -> int:
    """The port that the environment asks for.

    Raises:
        ConfigError: somebody else listens there; names ``variable``.
    """
    if not is_free(port):
        raise ConfigError(f"{variable}: port {port} on {HOST} is taken; choose another one")
    return port
