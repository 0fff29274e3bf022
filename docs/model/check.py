"""Runs SPIN over the protocol's model, and holds what it finds against ``runs.toml``."""

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
README: Final = HERE / "README.md"
MODEL: Final = HERE / "refund.pml"
#: Steps that a search may go deep; the longest run needs less than 1000.
DEPTH: Final = 200_000
SAFETY: Final = ("-DSAFETY", "-DNOFAIR")
#: Weak fairness over the model's ten processes needs room for more than pan's default of two.
LIVENESS: Final = ("-DNFAIR=4",)
HOLDS: Final = "holds"

Row = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """An entry of ``runs.toml``: runs that differ in a flag and must show the same."""

    name: str
    flags: str
    #: What it may show: "holds", or the promises of which one must be broken.
    expected: tuple[str, ...]
    quick: bool
    liveness: bool

    def runs(self) -> list[str]:
        """The flags of each run."""
        parts = [_choices(part) for part in self.flags.split()]
        return [" ".join(chosen) for chosen in itertools.product(*parts)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a run has shown."""

    group: Group
    flags: str
    shown: str
    states: int
    seconds: float

    @property
    def as_expected(self) -> bool:
        return self.shown in self.group.expected


def _choices(flag: str) -> list[str]:
    found = re.fullmatch(r"(.*)\{(.*)\}", flag)
    return [found[1] + value for value in found[2].split(",")] if found else [flag]


def read_runs() -> tuple[list[Group], dict[str, str]]:
    """The groups of ``runs.toml``, and the pattern of each promise's assertion."""
    data = tomllib.loads((HERE / "runs.toml").read_text(encoding="utf-8"))
    groups = [
        Group(
            name=entry["name"],
            flags=entry["flags"],
            expected=(HOLDS,) if entry.get("holds") else tuple(entry["breaks"]),
            quick=entry.get("quick", False),
            liveness=entry.get("liveness", False),
        )
        for entry in data["run"]
    ]
    return groups, data["promises"]


def run(group: Group, flags: str, promises: dict[str, str]) -> Result:
    """Generate, compile and run one search, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="refundry-model-") as folder:
        _call(folder, "spin", "-a", *flags.split(), str(MODEL))
        kind = LIVENESS if group.liveness else SAFETY
        # Optimizing takes longer than a quick search.
        options = ("-O0" if group.quick else "-O2", "-DCOLLAPSE", "-DVECTORSZ=2048", *kind)
        _call(folder, "gcc", *options, "-o", "pan", "pan.c")
        search = ("-a", "-f") if group.liveness else ()
        began = time.monotonic()
        text = _call(folder, "./pan", *search, f"-m{DEPTH}", "-w24")
        seconds = time.monotonic() - began
    return Result(
        group=group,
        flags=flags,
        shown=_shown(text, promises),
        states=_number(r"(\d+) states, stored", text),
        seconds=seconds,
    )


def _call(folder: str, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def _shown(text: str, promises: dict[str, str]) -> str:
    """ "holds" only of a search that has seen everything."""
    if broken := re.search(r"^pan:\d+: assertion violated (.*)$", text, re.MULTILINE):
        names = [name for name, pattern in promises.items() if re.search(pattern, broken[1])]
        return names[0] if names else broken[1]
    if other := re.search(r"^(?:pan:\d+: |error: )(.*)$", text, re.MULTILINE):
        return other[1]
    whole = "errors: 0" in text and "Search not completed" not in text
    return HOLDS if whole else "not completed"


def check(groups: list[Group], promises: dict[str, str], jobs: int) -> Iterator[Result]:
    """Run them all, ``jobs`` at once; results in the order of the groups."""
    runs = [(group, flags) for group in groups for flags in group.runs()]
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda item: run(item[0], item[1], promises), runs)


def tell(result: Result) -> None:
    """One line a run."""
    mark = "as expected" if result.as_expected else "NOT AS EXPECTED"
    wanted = "" if result.as_expected else f", not {' or '.join(result.group.expected)}"
    figures = f"{result.states:>9} states {result.seconds:6.1f} s"
    print(f"{mark}  {figures}  {result.shown}{wanted}  {result.flags}", flush=True)


def row(group: Group, results: list[Result]) -> Row:
    """A line of the README's table."""
    states = [result.states / 1e6 for result in results]
    seconds = [result.seconds for result in results]
    shown = ", ".join(dict.fromkeys(result.shown for result in results))
    figures = (f"{_span(states, 2)} M", f"{_span(seconds, 1)} s")
    return (group.name, f"`{group.flags}`", str(len(results)), shown, *figures)


def _span(values: list[float], digits: int) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low}–{high}"


def rows_of(text: str) -> dict[str, Row]:
    """The table's lines in a text, by the names of their groups."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and "`-D" in line]
    cells = [tuple(cell.strip() for cell in line.strip("| ").split(" | ")) for line in lines]
    return {row[0]: row for row in cells}


def write_readme(groups: list[Group], results: list[Result]) -> None:
    """Put the measured lines into the README's tables; lines of groups not run stay."""
    text = README.read_text(encoding="utf-8")
    rows = rows_of(text)
    for group in groups:
        own = [result for result in results if result.group is group]
        rows |= {group.name: row(group, own)} if own else {}
    for title, chosen in _tables(groups).items():
        text = _put(text, title, [rows[group.name] for group in chosen if group.name in rows])
    README.write_text(text, encoding="utf-8")


def _put(text: str, title: str, rows: list[Row]) -> str:
    """Replace the lines of the table below a mark, but for its two lines of heading."""
    before, mark, after = text.partition(f"<!-- {title} -->\n")
    lines = after.splitlines(keepends=True)
    heading, rest = lines[:2], itertools.dropwhile(lambda line: line.startswith("|"), lines[2:])
    own = [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join([before, mark, *heading, *own, *rest])


def _tables(groups: list[Group]) -> dict[str, list[Group]]:
    left_out = [group for group in groups if "-DA_" in group.flags]
    others = [group for group in groups if group not in left_out]
    return {"protocol": others, "left out": left_out}


def missing_tools() -> str | None:
    """What is missing and what to do about it; None: nothing."""
    missing = [name for name in ("spin", "gcc") if shutil.which(name) is None]
    if not missing:
        return None
    return (
        f"the model needs {' and '.join(missing)}, not found in PATH; "
        f"on Debian and Ubuntu: apt install {' '.join(missing)}"
    )


def main() -> int:
    """0: everything as expected; 1: something was not; 3: a tool is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the runs that take seconds")
    parser.add_argument("--only", default="", help="only the groups whose name has this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="searches at once")
    parser.add_argument("--write", action="store_true", help="put the figures into README.md")
    chosen = parser.parse_args()
    if problem := missing_tools():
        print(problem, file=sys.stderr)
        return 3
    groups, promises = read_runs()
    wanted = [group for group in groups if group.quick or not chosen.quick]
    wanted = [group for group in wanted if chosen.only in group.name]
    results = []
    for result in check(wanted, promises, chosen.jobs):
        tell(result)
        results.append(result)
    if chosen.write:
        write_readme(groups, results)
    wrong = sum(not result.as_expected for result in results)
    print(f"{len(results)} runs, {wrong} not as expected")
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    sys.exit(main())
