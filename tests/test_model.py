"""The protocol's model: its runs leave every rule out once, and it names code that exists.

The searches themselves are ``make model``.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.model import check

ROOT = Path(__file__).parents[1]
MODEL = check.MODEL.read_text(encoding="utf-8")
#: What a comment of the model refers to: a file below worker/, and names in it.
REFERENCES = re.findall(r"([\w/]+\.py)(?:: (\w+(?:, \w+)*))?", MODEL)


def test_every_rule_of_the_model_is_left_out_once() -> None:
    groups, _ = check.read_runs()
    flags = " ".join(group.flags for group in groups if group.quick)
    rules = set(re.findall(r"\bA_[A-Z]+\b", MODEL))
    assert rules
    assert set(re.findall(r"\bA_[A-Z]+\b", flags.replace("-D", " "))) == rules


def test_the_readme_has_a_measured_line_of_every_run() -> None:
    groups, _ = check.read_runs()
    rows = check.rows_of(check.README.read_text(encoding="utf-8"))
    assert list(rows) == [group.name for group in groups]
    for group in groups:
        _, flags, runs, shown, *_ = rows[group.name]
        assert (flags, runs) == (f"`{group.flags}`", str(len(group.runs()))), group.name
        assert set(shown.split(", ")) <= set(group.expected), group.name


def test_a_missing_tool_is_named_with_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(check.HERE / "check.py"), "--quick"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "spin and gcc" in done.stderr
    assert "apt install spin gcc" in done.stderr


@pytest.mark.parametrize(("name", "words"), REFERENCES)
def test_the_model_names_code_that_is_there(name: str, words: str) -> None:
    found = [path for path in (ROOT / "worker").rglob("*.py") if path.as_posix().endswith(name)]
    assert found, name
    texts = [path.read_text(encoding="utf-8") for path in found]
    for word in words.split(", ") if words else ():
        assert any(re.search(rf"\b{word}\b", text) for text in texts), (name, word)
