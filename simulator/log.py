"""``log.jsonl``: what the providers saw and did, one event a line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from simulator.lines import LineFile


class Log:
    """Writes events; ``at`` is in unix seconds."""

    def __init__(self, path: Path) -> None:
        self._lines = LineFile(path)

    def event(self, name: str, **fields: Any) -> None:
        self._lines.append({"event": name, "at": time.time(), **fields})
