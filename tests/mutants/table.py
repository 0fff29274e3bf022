"""The mutants: what each breaks, how, and which tests must see it."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
TABLE: Final = Path(__file__).with_name("mutants.toml")


class WrongTable(Exception):
    """Raised when a mutant cannot be made as the table says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """One text that is replaced."""

    file: str
    text: str
    becomes: str

    def apply(self, root: Path) -> str:
        """Replace it in the tree below ``root``; returns the file's new text.

        Raises:
            WrongTable: the text does not stand exactly once in the file.
        """
        path = root / self.file
        before = path.read_text(encoding="utf-8")
        if (times := before.count(self.text)) != 1:
            raise WrongTable(f"{self.file} has {times} times, not once: {self.text.strip()!r}")
        after = before.replace(self.text, self.becomes)
        path.write_text(after, encoding="utf-8")
        return after


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """A variant of the product with one rule left out."""

    name: str
    rule: str
    #: Every one of them must fail: a file, a function, or one of its cases.
    tests: tuple[str, ...]
    edits: tuple[Edit, ...]


def load_mutants() -> list[Mutant]:
    """The table's mutants, in its order."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutant"]
    return [_mutant(**row) for row in rows]


def _mutant(name: str, rule: str, tests: list[str], edits: list[dict[str, Any]]) -> Mutant:
    made = tuple(Edit(**edit) for edit in edits)
    return Mutant(name=name, rule=rule, tests=tuple(tests), edits=made)
