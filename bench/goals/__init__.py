"""The themes of the bench: each measures some goals, and may be run alone."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from bench.goals import backlog, counted, history, latency, polling, profile, throughput
from bench.plan import Plan
from bench.table import Section

Theme = Callable[[Plan, Section], None]

THEMES: Final[Mapping[str, Theme]] = MappingProxyType(
    {
        "throughput": throughput.measure,
        "latency": latency.measure,
        "counted": counted.measure,
        "profile": profile.measure,
        "backlog": backlog.measure,
        "polling": polling.measure,
        "history": history.measure,
    }
)
#: Those that need 100,000 rows and more, or minutes.
LARGE: Final = ("profile", "backlog", "polling", "history")
