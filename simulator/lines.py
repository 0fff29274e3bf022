"""Append-only files of JSON objects, one a line: the journal of the book, and the log."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class HomeInUseError(Exception):
    """Raised when another process holds the file open for appending."""


class LineFile:
    """Appends whole lines; each reaches the kernel at once, so a killed process loses none."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeInUseError(f"{path} is in use by another simulator") from None
        _cut_last_line(path)

    def append(self, entry: Json) -> None:
        self._file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")


def read_lines(path: Path) -> Iterator[Json]:
    """The objects of a file that a LineFile has opened (and so ends with a whole line)."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield json.loads(line)
            except ValueError:
                raise ValueError(f"{path} line {number} is not JSON") from None


def _cut_last_line(path: Path) -> None:
    """Removes what a kill left of a line that was being written."""
    data = path.read_bytes()
    if not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)
