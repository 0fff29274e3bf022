"""What the figures were measured on."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from bench.site import ROOT

_PACKAGES: Final = ("celery", "dbos", "procrastinate", "psycopg", "redis", "requests", "sqlalchemy")


def describe() -> str:
    """Code, processor, memory, kernel, Python, packages, and how busy it was before."""
    memory = psutil.virtual_memory().total // 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"Refundry {_revision()}; {os.cpu_count()} cores of {_processor()}, {memory} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}; "
        f"{packages}; idle before: {100 - psutil.cpu_percent(1.0):.0f} %"
    )


def _revision() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or version("refundry")


def _processor() -> str:
    """As Linux names it; elsewhere the architecture alone."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
