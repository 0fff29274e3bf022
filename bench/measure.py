"""One run of one contender: so many refunds, their rate, and what they cost."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any, Final

from bench.contenders.base import Contender
from bench.site import Job, Site

#: Nobody is waited for longer without a refund becoming final.
PATIENCE_S: Final = 120.0
#: Time between two looks at a contender's memory.
SAMPLE_S: Final = 1.0
#: Refunds before a run that is measured: connections are made, code is loaded.
WARM: Final = 50
#: Orders and numbers of one lot of jobs are no other's.
_LOTS: Final = count()
_LOT: Final = 10_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one run gave."""

    contender: str
    refunds: int
    #: From the first job handed over to the last refund that the provider calls final.
    seconds: float
    #: Of workers and beat, user and system.
    cpu_s: float
    #: Of the process that took most.
    memory_mib: float
    calls: int
    overlaps: int
    duplicates: int

    @property
    def rate(self) -> float:
        """Refunds a second."""
        return self.refunds / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU of one refund."""
        return 1000 * self.cpu_s / self.refunds

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"rate": self.rate, "cpu_ms": self.cpu_ms}


class Watch:
    """Looks at a contender while it works."""

    def __init__(self, contender: Contender, site: Site) -> None:
        self._contender, self._site = contender, site
        self.began = time.monotonic()
        self._spent = self._cpu_s()
        #: When, and how much the process took that took most, in MiB.
        self.memory: list[tuple[float, float]] = []

    def until_final(self, wanted: int, already: int = 0) -> dict[str, Any]:
        """Wait until the provider calls all final, and the contender's own book says so as well."""
        seen, give_up_at = -1, time.monotonic() + PATIENCE_S
        while True:
            sums = self._site.sums()
            if sums["finished"] >= wanted and self._contender.finished() >= wanted + already:
                self._sample()
                return sums
            if sums["finished"] > seen:
                seen, give_up_at = sums["finished"], time.monotonic() + PATIENCE_S
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{self._contender.name}: {sums}, nothing in {PATIENCE_S:g} s")
            self._sample()
            time.sleep(0.1)

    def run_of(self, refunds: int, sums: dict[str, Any]) -> Run:
        """What was seen since the watch began."""
        return Run(
            contender=self._contender.name,
            refunds=refunds,
            seconds=sums["last"] - self.began,
            cpu_s=self._cpu_s() - self._spent,
            memory_mib=max(taken for _, taken in self.memory),
            calls=sums["calls"],
            overlaps=sums["overlaps"],
            duplicates=sums["duplicates"],
        )

    def _cpu_s(self) -> float:
        times = [process.cpu_times() for process in self._contender.processes()]
        return sum(one.user + one.system for one in times)

    def _sample(self) -> None:
        now = time.monotonic()
        if not self.memory or now - self.memory[-1][0] >= SAMPLE_S:
            taken = (process.memory_info().rss for process in self._contender.processes())
            self.memory.append((now, max(taken, default=0) / 2**20))


def jobs(wanted: int, per_order: int = 4) -> list[Job]:
    """So many refunds; those of one order lie apart, as customers' do."""
    orders, start = -(-wanted // per_order), _LOT * next(_LOTS)
    return [
        {
            "order_no": f"ORDER{start + number % orders:010d}",
            "refund_no": f"REFUND{start + number:012d}",
            "amount": 100,
            "order_amount": 100 * per_order,
        }
        for number in range(wanted)
    ]


def run(contender: Contender, site: Site, work: list[Job], **book: Any) -> Run:
    """Start a contender, let it do a little, then measure it over the work."""
    with at_work(contender, site, **book):
        watch = Watch(contender, site)
        contender.enqueue(work)
        return watch.run_of(len(work), watch.until_final(len(work), WARM))


def work_off(contender: Contender, site: Site, work: list[Job]) -> tuple[Run, Watch]:
    """All the work waits when the contender starts; its watch shows the memory in time."""
    site.begin()
    contender.prepare(site)
    try:
        contender.enqueue(work)
        contender.hire()
        watch = Watch(contender, site)
        return watch.run_of(len(work), watch.until_final(len(work))), watch
    finally:
        contender.stop()


def waits(contender: Contender, site: Site, wanted: int) -> list[float]:
    """Seconds from handing a job over to its request, one job at a time."""
    with at_work(contender, site):
        return [_one_wait(contender, site, job) for job in jobs(wanted, 1)]


@contextmanager
def at_work(contender: Contender, site: Site, **book: Any) -> Iterator[None]:
    """A contender that has worked a little, before a new book of the provider."""
    site.begin(**book)
    contender.prepare(site)
    try:
        contender.hire()
        contender.enqueue(jobs(WARM, 1))
        Watch(contender, site).until_final(WARM)
        site.begin(**book)
        yield
    finally:
        contender.stop()


def _one_wait(contender: Contender, site: Site, job: Job) -> float:
    handed_over_at = time.monotonic()
    contender.enqueue([job])
    while job["refund_no"] not in (submitted := site.book()["submitted"]):
        time.sleep(0.02)
    return submitted[job["refund_no"]] - handed_over_at
