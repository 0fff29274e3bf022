"""What every contender of one run is given: the same servers, the same provider, empty."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

ROOT: Final = Path(__file__).parents[1]

Job = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Servers, provider, and a folder of the contender's own."""

    folder: Path
    database_url: str
    redis_url: str
    provider_url: str

    def begin(self, **book: Any) -> None:
        """A new book at the provider."""
        self._control("/start", book)

    def sums(self) -> dict[str, Any]:
        """What the provider has counted."""
        sums: dict[str, Any] = self._control("/sums", {})
        return sums

    def book(self) -> dict[str, dict[str, float]]:
        """When the provider saw what."""
        book: dict[str, dict[str, float]] = self._control("/book", {})
        return book

    def _control(self, path: str, fields: Any) -> Any:
        answer = requests.post(self.provider_url + path, data=json.dumps(fields), timeout=30)
        return answer.json()

    @property
    def environment(self) -> dict[str, str]:
        """What a contender's processes find their servers by."""
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "BENCH_DATABASE_URL": self.database_url,
            "BENCH_REDIS_URL": self.redis_url,
            "BENCH_PROVIDER_URL": self.provider_url,
        }


@contextmanager
def provider() -> Iterator[str]:
    """URL of a provider of one's own."""
    command = [sys.executable, "-m", "bench.provider"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()
