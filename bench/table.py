"""The table: what has to come out of a measurement, and what came out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Self

from bench.measure import Run

#: Points of a line in a plot.
Curve = list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """A bound that a figure has to keep, from below or from above."""

    bound: float
    at_least: bool
    unit: str = "×"

    @classmethod
    def least(cls, bound: float, unit: str = "×") -> Self:
        """The figure may not be smaller."""
        return cls(bound=bound, at_least=True, unit=unit)

    @classmethod
    def most(cls, bound: float, unit: str = "×") -> Self:
        """The figure may not be greater."""
        return cls(bound=bound, at_least=False, unit=unit)

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{self.unit}"

    def reached(self, figure: float) -> bool:
        """Whether a figure keeps the bound."""
        return figure >= self.bound if self.at_least else figure <= self.bound

    def missed_by(self, figure: float) -> float:
        """By how many percent of the bound."""
        return 100 * abs(figure - self.bound) / self.bound


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    goal: Goal
    #: One figure a repetition; the table shows their median and spread.
    figures: Sequence[float]

    @property
    def middle(self) -> float:
        """The figure that is held against the goal."""
        return median(self.figures)

    @property
    def figure(self) -> str:
        """With its unit."""
        return f"{self.middle:.2f}{self.goal.unit}"

    @property
    def spread(self) -> str:
        """The smallest and the greatest."""
        return f"{min(self.figures):.2f}–{max(self.figures):.2f}"

    @property
    def verdict(self) -> str:
        """``reached``, or by how much it was missed."""
        if self.goal.reached(self.middle):
            return "reached"
        return f"missed by {self.goal.missed_by(self.middle):.0f} %"

    def as_json(self) -> dict[str, Any]:
        """For machines, and for whoever writes the page."""
        return {
            "what": self.what,
            "goal": str(self.goal),
            "figure": self.figure,
            "spread": self.spread,
            "figures": list(self.figures),
            "verdict": self.verdict,
        }


@dataclass(kw_only=True, slots=True)
class Section:
    """What one theme of the bench gave: runs, rows, and lines for plots by their names."""

    runs: list[Run] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    #: What is counted and not measured, each with its reason.
    counted: dict[str, Any] = field(default_factory=dict)

    def keep(self, run: Run) -> Run:
        """Note a run, for its overlaps and duplicates count whatever it was made for."""
        self.runs.append(run)
        return run

    def row(self, what: str, goal: Goal, figures: Sequence[float]) -> None:
        """Note a line of the table."""
        self.rows.append(Row(what=what, goal=goal, figures=figures))

    def clean(self) -> bool:
        """No contender sent two refunds of an order at once, nor one twice."""
        return all(run.overlaps == run.duplicates == 0 for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        """Everything, for machines and for the plots."""
        return {
            "rows": [row.as_json() for row in self.rows],
            "runs": [run.as_json() for run in self.runs],
            "curves": self.curves,
            "counted": self.counted,
        }


def file_name(curve: str) -> str:
    """A curve's name as its plot's."""
    return "-".join("".join(c if c.isalnum() else " " for c in curve.lower()).split())
