"""The table of mutants is one that can be run: ``make mutants`` does, this only looks."""

import ast
import shutil
from pathlib import Path

import pytest

from tests.mutants.table import ROOT, Edit, Mutant, WrongTable, load_mutants

MUTANTS = load_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_replaces_stands_once_and_leaves_a_program(
    mutant: Mutant, tmp_path: Path
) -> None:
    for name in {edit.file for edit in mutant.edits}:
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    for edit in mutant.edits:
        assert edit.text != edit.becomes
        ast.parse(edit.apply(tmp_path))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_that_must_see_a_mutant_are_there(mutant: Mutant) -> None:
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        named = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        there = {node.name for node in named}
        assert not name or set(name.partition("[")[0].split("::")) <= there


def test_no_two_mutants_are_called_alike() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) > 20


def test_a_text_that_stands_twice_or_not_at_all_is_named(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("a = 1\na = 1\n")
    for text, times in (("a = 1", 2), ("b", 0)):
        with pytest.raises(WrongTable, match=f"has {times} times"):
            Edit(file="some.py", text=text, becomes="c").apply(tmp_path)
