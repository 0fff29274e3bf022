"""The figures as drawings: one file a plot."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.table import file_name

mpl.use("svg")
#: The same figures give the same file.
mpl.rcParams["svg.hashsalt"] = "refundry"
#: Where sizes differ by orders of magnitude.
_BY_TENFOLDS: Final = ("history", "open refunds")


def draw(sections: Mapping[str, Any], folder: Path) -> None:
    """A plot of all contenders, and one of every curve."""
    if "throughput" in sections:
        _save(contenders(sections["throughput"]["runs"]), folder / "contenders.svg")
    for section in sections.values():
        for name, points in section["curves"].items():
            _save(curve(name, points), folder / f"{file_name(name)}.svg")


def contenders(runs: Iterable[Mapping[str, Any]]) -> Figure:
    """Two panels: refunds a second, and CPU of a refund; one dot a run at 0 ms."""
    found = defaultdict(list)
    for run in runs:
        found[run["contender"]].append(run)
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, key, label in zip(
        figure.subplots(1, 2),
        ("rate", "cpu_ms"),
        ("finished refunds/s", "CPU of a refund, ms"),
        strict=True,
    ):
        for place, (_, of_one) in enumerate(sorted(found.items())):
            axes.plot([run[key] for run in of_one], [place] * len(of_one), "o")
        axes.set_yticks(range(len(found)), sorted(found))
        axes.set_xlabel(label)
        axes.set_xlim(left=0)
    return figure


def curve(name: str, points: Iterable[tuple[float, float]]) -> Figure:
    """What a name says: "Y by X"; dots, and a line through them, or through their middles."""
    what, _, by = name.partition(" by ")
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, "-" if len(set(xs)) > 2 and len(set(xs)) == len(xs) else "o")
    if any(word in by for word in _BY_TENFOLDS):
        axes.set_xscale("log")
    axes.set_xlabel(by)
    axes.set_ylabel(what)
    axes.set_ylim(bottom=0)
    return figure


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
