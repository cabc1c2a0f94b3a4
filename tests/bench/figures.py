"""The figures of a run, as a table and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a figure."""

    of: Literal["value", "ratio"]
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, figure: "Figure") -> bool:
        """Return whether a figure is within the bound."""
        number = figure.value if self.of == "value" else figure.ratio
        if number is None:
            return False
        low = self.at_least is None or number >= self.at_least
        return low and (self.at_most is None or number <= self.at_most)

    def __str__(self) -> str:
        bound = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"
        return f"{bound} ×" if self.of == "ratio" else bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number."""

    name: str
    what: str
    value: float
    unit: str
    baseline: float | None = None
    against: str = ""
    """Description of the baseline."""
    goal: Goal | None = None
    base: float | None = None
    """The same number for the revision that this run is compared with."""
    spread: tuple[float, float] | None = None
    """Smallest and largest value of the rounds."""

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the baseline."""
        return self.value / self.baseline if self.baseline else None

    def line(self) -> str:
        """Return the figure as one line of text."""
        ratio = "" if self.ratio is None else f", {self.ratio:.2f} × {_number(self.baseline)}"
        return f"{self.what}: {_number(self.value)} {self.unit}{ratio}"

    def to_json(self) -> dict[str, object]:
        """Return the figure as it is stored."""
        goal = None if self.goal is None else str(self.goal)
        met = None if self.goal is None else self.goal.is_met(self)
        return asdict(self) | {"ratio": self.ratio, "goal": goal, "met": met}


def table(figures: Sequence[Figure], base: str | None) -> str:
    """Return the figures as aligned rows."""
    head = ["", "ours", "", "baseline", "ratio", "goal", "", *([f"at {base}"] if base else []), "against"]
    rows = [head, *(_row(figure, compared=base is not None) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    right = {1, 3, 4}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(figure: Figure, *, compared: bool) -> list[str]:
    goal = figure.goal
    return [
        figure.what,
        _number(figure.value),
        figure.unit,
        _number(figure.baseline),
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        "" if goal is None else str(goal),
        "" if goal is None else "met" if goal.is_met(figure) else "MISSED",
        *([_number(figure.base)] if compared else []),
        figure.against,
    ]


def _number(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def write(path: Path, figures: Sequence[Figure], conditions: dict[str, object]) -> None:
    """Write the figures and the conditions of their measurement as JSON.

    Args:
        path: the file; its folder is created.
        figures: the figures of one run.
        conditions: revision, machine and options of the run.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = conditions | {"results": [figure.to_json() for figure in figures]}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
