"""The one table at the end of a run, and the same as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from tests.faults.soak.engine import Result

_WIDTH: Final = 36
#: Examples shown of a column that is not zero.
_SHOWN: Final = 5


def table(result: Result) -> str:
    """For people."""
    return "\n".join(_lines(result))


def as_json(result: Result) -> dict[str, Any]:
    """For programs."""
    middle, longest = result.times_to_recover()
    more = {"injected": result.injected, "clean": result.is_clean}
    return asdict(result) | more | {"recovery_s": {"median": middle, "longest": longest}}


def _lines(result: Result) -> Iterator[str]:
    yield f"soak {result.stack}, {result.minutes:g} min, seed {result.seed}"
    yield _row("refunds", f"{result.refunds['accepted']}  ({_listed(result.refunds)})")
    yield _row("faults injected", str(result.injected))
    for where, counts in result.faults.items():
        yield _row(f"  {where}", f"{sum(counts.values())}  ({_listed(counts)})")
    for column, found in result.verdict.items():
        yield _row(column, str(len(found)))
        yield from (_row("", one) for one in found[:_SHOWN])
    yield _row("audit", result.audit or "clean")
    middle, longest = result.times_to_recover()
    slowest = max(result.recoveries, key=lambda one: one[1], default=("", 0.0))[0]
    yield _row("time to recover *", f"median {middle:.1f} s, longest {longest:.1f} s ({slowest})")
    yield _row("settled after", f"{result.settled_s:.1f} s")
    if result.missed:
        yield _row("faults that could not be done", f"{len(result.missed)}: {result.missed[0]}")
    yield "* from a fault's end until a refund that was accepted after it is final"


def _row(name: str, value: str) -> str:
    return f"{name:<{_WIDTH}}{value}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {counts[name]}" for name in sorted(counts))
