"""``python -m tests.faults.soak``: exit code 0 where every column is zero, 1 where one is not."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import time

from tests.faults.soak.engine import run
from tests.faults.soak.plan import STACKS, plan
from tests.faults.soak.table import as_json, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, or show what a run would do."""
    options = _parser().parse_args(arguments)
    todo = [fault.as_json() for fault in plan(options.seed, options.minutes * 60, options.stack)]
    lines = "".join(json.dumps(fault) + "\n" for fault in todo)
    if options.plan:
        sys.stdout.write(lines)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="refundry-soak-"))
    (folder / "plan.jsonl").write_text(lines)
    print(f"seed {options.seed}, {len(todo)} faults planned, in {folder}", flush=True)
    result = run(options.stack, options.minutes, options.seed, folder)
    print(table(result), flush=True)
    text = json.dumps(as_json(result), ensure_ascii=False, indent=2)
    (folder / "result.json").write_text(text)
    if options.json:
        options.json.write_text(text)
    if result.is_clean and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"kept: {folder}; again: --seed {options.seed} --stack {options.stack}", flush=True)
    return 0 if result.is_clean else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="soak", description="Breaks a whole installation.")
    parser.add_argument("--minutes", type=float, default=20.0, help="of injection")
    parser.add_argument("--seed", type=int, default=int(time()), help="of every draw")
    parser.add_argument("--stack", choices=STACKS, default="postgresql", help="what it stands on")
    parser.add_argument("--json", type=Path, help="file of the result")
    parser.add_argument("--plan", action="store_true", help="show the faults and do nothing")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a clean run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
