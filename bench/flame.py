"""Where a worker's CPU time goes: a flame graph, and its shares by what the code is of.

py-spy looks at the worker from outside, a hundred times a second, at the thread that computes: the
one that has the interpreter. The same work is done twice, for a drawing and for the shares.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from bench.contenders.refundry_up import Refundry
from bench.installation import ACCEPTED
from bench.measure import at_work, jobs
from bench.servers import Servers

#: Looks a second, and for how many; the worker is not stopped for them.
RATE: Final = 100
LOOK_S: Final = 10
#: What a frame's file shows, the innermost first; the standard library is its caller's.
OWNERS: Final[Mapping[str, str]] = {
    "psycopg": "psycopg, the database's driver",
    "sqlalchemy": "SQLAlchemy",
    "requests": "requests and urllib3, the provider's wire",
    "urllib3": "requests and urllib3, the provider's wire",
    "worker/providers": "requests and urllib3, the provider's wire",
    "redis": "redis, locks and the broker's wire",
    "celery": "Celery, kombu, billiard and vine",
    "kombu": "Celery, kombu, billiard and vine",
    "billiard": "Celery, kombu, billiard and vine",
    "vine": "Celery, kombu, billiard and vine",
    "pydantic": "pydantic",
    "refundry": "Refundry's own code",
    "worker": "Refundry's own code",
    "tasks": "Refundry's own code",
    "config": "Refundry's own code",
}


def record(servers: Servers, count: int, drawing: Path) -> dict[str, float]:
    """Draw the flame graph into a file; each owner's share of the CPU time, the largest first."""
    _record(servers, count, drawing, "flamegraph")
    stacks = drawing.with_suffix(".txt")
    _record(servers, count, stacks, "raw")
    shares = shares_of(stacks.read_text().splitlines())
    stacks.unlink()
    return shares


def _record(servers: Servers, count: int, into: Path, form: str) -> None:
    """Look at the worker while there is more to do than it can do meanwhile."""
    contender = Refundry(settings=ACCEPTED)
    site = servers.site(contender.name)
    with at_work(contender, site):
        worker = max(contender.processes(), key=lambda process: process.memory_info().rss)
        contender.enqueue(jobs(count))
        command = ["py-spy", "record", f"--pid={worker.pid}"]  # as the drawing's title has it
        command += [f"--rate={RATE}", f"--duration={LOOK_S}", "--function", "--gil"]
        command += ["--nonblocking"]
        command += [f"--format={form}", f"--output={into}"]
        own = Path(sys.executable).parent / "py-spy"
        done = subprocess.run(command, executable=own, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"py-spy could not look at the worker (root may): {done.stderr}")


def shares_of(stacks: Iterable[str]) -> dict[str, float]:
    """Percent of all samples by owner; a line is ``frame;frame;frame count``."""
    found: Counter[str] = Counter()
    for line in stacks:
        frames, _, times = line.rpartition(" ")
        found[_owner(frames.split(";"))] += int(times)
    return {owner: 100 * times / found.total() for owner, times in found.most_common()}


def _owner(frames: list[str]) -> str:
    for frame in reversed(frames):
        path = frame.partition("(")[2]
        for beginning, owner in OWNERS.items():
            if path.startswith(f"{beginning}/"):
                return owner
    return "threads, and whatever else Python does"
