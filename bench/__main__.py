"""``make bench``: every contender over the same servers, and a table of goals and figures.

Themes may be run alone; their results replace their own part of what is there.
"""

import argparse
import json
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench import machine, page, plot
from bench.goals import LARGE, THEMES
from bench.plan import Plan
from bench.servers import Servers, running
from bench.table import Section

_RESULTS: Final = "results.json"


def main() -> int:
    """0: every contender ran without an overlap or a duplicate."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # all that was started ends as well
    described = machine.describe()
    print(described, flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    clean = True
    with running() as servers:
        plan = _plan(options, servers)
        for name in options.only or (name for name in THEMES if not _is_left_out(options, name)):
            section = Section()
            THEMES[name](plan, section)
            _show(section)
            clean = clean and section.clean()
            now = datetime.now(UTC).isoformat(timespec="minutes")
            _keep(options.out, name, {"machine": described, "at": now} | section.as_json())
    return 0 if clean else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, in 3 minutes")
    parser.add_argument("--only", nargs="+", choices=THEMES, help="these themes alone")
    parser.add_argument("--history", type=int, default=10_000_000, help="refunds of history")
    parser.add_argument("--open", type=int, default=1_000_000, help="open refunds of a poll tick")
    parser.add_argument("--backlog", type=int, default=100_000, help="jobs that wait")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="of the results")
    return parser.parse_args()


def _is_left_out(options: argparse.Namespace, name: str) -> bool:
    return options.quick and name in LARGE


def _plan(options: argparse.Namespace, servers: Servers) -> Plan:
    return Plan(
        servers=servers,
        folder=options.out,
        repetitions=1 if options.quick else 3,
        count=300 if options.quick else 1000,
        history=options.history,
        open_refunds=options.open,
        backlog=options.backlog,
    )


def _show(section: Section) -> None:
    for run in section.runs:
        print(f"{run.contender:22} {run.rate:8.1f}/s {run.cpu_ms:8.2f} ms CPU a refund")
    for row in section.rows:
        print(f"{row.what:80} {row.goal!s:10} {row.figure} ({row.spread}) {row.verdict}")
    for line in page.counted(section.counted):
        print(line)
    sys.stdout.flush()


def _keep(folder: Path, name: str, section: Mapping[str, Any]) -> None:
    """After every theme, so that what a later one breaks is not lost."""
    path = folder / _RESULTS
    sections = json.loads(path.read_text()) if path.exists() else {}
    sections[name] = section
    path.write_text(json.dumps(sections, indent=1, sort_keys=True) + "\n")
    (folder / "results.md").write_text(page.written(sections))
    plot.draw({name: section}, folder)


if __name__ == "__main__":
    sys.exit(main())
