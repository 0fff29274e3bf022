"""Breaks the product on purpose, one rule at a time, and shows that the tests notice.

Each mutant is a copy of the tree in a temporary folder with a text or two replaced. It is caught
where every test that ``mutants.toml`` names for it fails in the copy, by what it asserts: what can
be neither imported nor collected proves nothing. Exit code 0: every mutant was caught, and the
unbroken tree passes the same tests.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.mutants.table import ROOT, Edit, Mutant, WrongTable, load_mutants

#: What a copy does without.
LEFT_OUT: Final = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "node_modules")
#: A test that fails by one of these shows that the mutant is no program, not that it is caught.
NO_PROGRAM: Final = ("ImportError", "ModuleNotFoundError", "SyntaxError", "NameError")
ROOMS: Final = ("config", "worker", "tasks", "gateway", "simulator", "tests", "refundry")
#: Beyond this a run hangs.
MOST_S: Final = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What became of the tests in one tree."""

    #: Names of the tests that ran, with what they failed by; empty where they passed.
    tests: dict[str, str]
    #: What kept them from being tests at all.
    fault: str
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run", description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", help="this mutant alone")
    parser.add_argument("--by", metavar="TEST", action="append", help="this test, not its own ones")
    given = parser.parse_args(arguments)
    only, mutants = given.only, load_mutants()
    if given.by:
        mutants = [replace(mutant, tests=tuple(given.by)) for mutant in mutants]
    if only:
        unknown = set(only) - {mutant.name for mutant in mutants}
        if unknown:
            parser.error(f"there is no mutant {', '.join(sorted(unknown))}")
        mutants = [mutant for mutant in mutants if mutant.name in only]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        whole = pool.submit(look_at, (), dict.fromkeys(t for m in mutants for t in m.tests))
        seen = pool.map(lambda mutant: look_at(mutant.edits, mutant.tests), mutants)
        bad = [_show(mutant, one) for mutant, one in zip(mutants, seen, strict=True)]
        bad.append(_show_whole(whole.result()))
    return int(any(bad))


def look_at(edits: Iterable[Edit], tests: Iterable[str]) -> Seen:
    """Run the tests in a copy of the tree with the edits made."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="refundry-mutant-") as folder:
        root = Path(folder, "tree")
        shutil.copytree(ROOT, root, ignore=LEFT_OUT)
        try:
            for edit in edits:
                edit.apply(root)
            _check_imports(root)
            found, fault = _run_tests(root, tests)
        except WrongTable as error:
            found, fault = {}, str(error)
    return Seen(tests=found, fault=fault, seconds=time.monotonic() - began)


def _check_imports(root: Path) -> None:
    """Every room is the copy's, not the one that is installed.

    Raises:
        WrongTable: it is not.
    """
    code = f"import {', '.join(ROOMS)}; print({', '.join(f'{room}.__file__' for room in ROOMS)})"
    done = _python(root, "-c", code)
    paths = done.stdout.split()
    if done.returncode or not all(Path(path).is_relative_to(root) for path in paths):
        raise WrongTable(f"the copy is not what is imported: {done.stdout or done.stderr}")


def _run_tests(root: Path, tests: Iterable[str]) -> tuple[dict[str, str], str]:
    report = root.parent / "report.xml"
    options = ("-q", "-p", "no:cacheprovider", "--hypothesis-profile=found", f"--junitxml={report}")
    done = _python(root, "-m", "pytest", *options, *tests)
    if done.returncode not in (0, 1) or not report.exists():
        return {}, f"pytest ended with {done.returncode}: {done.stdout[-400:]}"
    found: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        if case.find("error") is not None:
            return {}, f"{case.get('name')}: an error before it was a test"
        failed = case.find("failure")
        found[_name_of(case)] = "" if failed is None else failed.get("message") or "failed"
    return found, ""


def _name_of(case: ET.Element) -> str:
    """A test's name as pytest takes it, from a file's and a class's that a dot parts."""
    parts = (case.get("classname") or "").split(".")
    classes = [part for part in parts if part.startswith("Test")]
    file = "/".join(part for part in parts if part not in classes)
    return "::".join([f"{file}.py", *classes, case.get("name") or ""])


def _python(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The same interpreter in the copy; what is installed in editable form comes after it."""
    paths = os.pathsep.join([str(root), str(root / "client" / "src")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=MOST_S,
        check=False,
    )


def _show(mutant: Mutant, seen: Seen) -> bool:
    """Print what became of a mutant; True where it was not caught."""
    missed = seen.fault or _missed(mutant, seen)
    by = missed or ", ".join(test.rpartition("/")[2] for test in mutant.tests)
    verdict = "MISSED" if missed else "caught"
    print(f"{verdict}  {mutant.name:32} {seen.seconds:5.1f} s  {mutant.rule}\n{'':8}by {by}")
    for why in sorted(set(filter(None, seen.tests.values()))) if not missed else ():
        print(f"{'':8}{why.splitlines()[0][:150]}", flush=True)
    return bool(missed)


def _missed(mutant: Mutant, seen: Seen) -> str:
    for test in mutant.tests:
        failures = [why for name, why in seen.tests.items() if name.startswith(test) and why]
        if not failures:
            return f"{test} does not fail"
        if all(why.startswith(NO_PROGRAM) for why in failures):
            return f"{test} fails by {failures[0].splitlines()[0]}"
    return ""


def _show_whole(seen: Seen) -> bool:
    failed = [name for name, why in seen.tests.items() if why]
    bad = bool(seen.fault or failed or not seen.tests)
    said = seen.fault or ", ".join(failed) or f"{len(seen.tests)} tests pass"
    print(
        f"{'FAILED' if bad else 'sound '}  {'the unbroken tree':32} {seen.seconds:5.1f} s  {said}"
    )
    return bad


if __name__ == "__main__":
    sys.exit(main())
