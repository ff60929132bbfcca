"""Figures, their text, and bench.json."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MARKS = {True: "met", False: "MISSED", None: ""}


@dataclass(frozen=True)
class Figure:
    """`values` are those of the rounds; `goal` is None where nothing was promised.

    `reason` says why there is no value, or what stands beside it.
    """

    name: str
    unit: str
    values: Sequence[float]
    goal: float | None = None
    lower_is_better: bool = False
    reason: str = ""

    @property
    def value(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    @property
    def met(self) -> bool | None:
        if self.goal is None or self.value is None:
            return None
        return self.value <= self.goal if self.lower_is_better else self.value >= self.goal

    @property
    def text(self) -> str:
        """Median and, of several rounds, the range."""
        if self.value is None:
            return "-"
        if len(self.values) == 1:
            return _short(self.value)
        return f"{_short(self.value)} ({_short(min(self.values))}-{_short(max(self.values))})"

    @property
    def verdict(self) -> str:
        """The goal and whether it is met; "" without a goal."""
        if self.goal is None:
            return ""
        word = "at most" if self.lower_is_better else "at least"
        return f"{word} {self.goal:,g} {MARKS[self.met]}".rstrip()

    def as_json(self) -> dict[str, object]:
        value = self.value
        return {
            "name": self.name,
            "value": None if value is None else round(value, 4),
            "unit": self.unit,
            "goal": self.goal,
            "met": self.met,
            "reason": self.reason,
        }


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need be; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def write_json(figures: list[Figure], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.json"
    path.write_text(json.dumps([each.as_json() for each in figures], indent=2) + "\n")
    return path
