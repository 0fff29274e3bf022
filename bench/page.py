"""The results as a page: tables in Markdown, with the plots. Nobody writes a figure by hand."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from bench.allowed import SCENARIOS
from bench.table import file_name

_TITLES: Final = {
    "throughput": "Against others",
    "latency": "Waiting for providers",
    "counted": "Counted work of one refund",
    "profile": "Where a worker's CPU time goes",
    "backlog": "A long queue",
    "polling": "Many open refunds",
    "history": "A long history",
}
_COUNTED: Final = {"alone": "alone", "four": "four to an order", "told": "alone, told by task"}


def written(sections: Mapping[str, Any]) -> str:
    """The page."""
    lines = [
        "# Results",
        "",
        "Written by `make bench DOCS=1`. What the words mean and why a goal is",
    ]
    lines += ["missed says [performance.md](../performance.md).", ""]
    for name, title in _TITLES.items():
        if name in sections:
            lines += [f"## {title}", "", *_section(name, sections[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, section: Mapping[str, Any]) -> Iterator[str]:
    yield f"{section['machine']}; {section['at']}."
    yield ""
    if section["rows"]:
        yield from _goals(section["rows"])
    if name == "throughput":
        yield from _contenders(section["runs"])
        yield "![contenders](contenders.svg)"
    yield from counted(section["counted"])
    if name == "profile":
        yield "![flame graph](flame.svg)"
    for curve in section["curves"]:
        yield f"![{curve}]({file_name(curve)}.svg)"


def _goals(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield from _head("what", "goal", "figure", "spread", "verdict")
    for row in rows:
        yield _line(row["what"], row["goal"], row["figure"], row["spread"], row["verdict"])
    yield ""


def _contenders(runs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield from _head("contender", "refunds/s", "CPU of a refund, ms", "memory of a process, MiB")
    for run in sorted(runs, key=lambda run: str(run["contender"])):
        figures = (f"{run[key]:.1f}" for key in ("rate", "cpu_ms", "memory_mib"))
        yield _line(run["contender"], *figures)
    yield ""


def counted(found: Mapping[str, Any]) -> Iterator[str]:
    """The work of one refund with its reasons, or the shares of a profile, if it is either."""
    if "why" in found:
        yield from _work(found)
    if "share" in found:
        yield from _head("code of", "% of the samples")
        for owner, share in sorted(found["share"].items(), key=lambda one: -one[1]):
            yield _line(owner, f"{share:.0f}")
        yield ""


def _work(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _head("work", *(_COUNTED[name] for name in SCENARIOS), "why")
    for kind in sorted({kind for name in SCENARIOS for kind in found[name]}):
        times = (f"{found[name].get(kind, 0):.2f}" for name in SCENARIOS)
        yield _line(f"`{kind}`", *times, found["why"].get(kind, ""))


def _head(*columns: str) -> Iterator[str]:
    yield _line(*columns)
    yield _line(*("---" for _ in columns))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
