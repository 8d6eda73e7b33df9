"""What a benchmark gives, and how it is shown: median, least and most of several samples."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    unit: str
    samples: tuple[float, ...]
    limit: float = math.inf  # that no sample may be above

    @classmethod
    def of(cls, name: str, unit: str, samples: Iterable[float], limit: float = math.inf) -> Figure:
        return cls(name, unit, tuple(samples), limit)

    @property
    def kept(self) -> bool:
        """Whether no sample is above the limit."""
        return max(self.samples) <= self.limit

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.samples),
            "max": max(self.samples),
            "samples": list(self.samples),
        }


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """Pairs of the same round, so that what else the machine did is on both sides."""
    return Figure.of(name, "x", (mine / other for mine, other in zip(ours, theirs, strict=True)))


def machine() -> dict[str, Any]:
    """Where and when, and how busy the machine was."""
    return {
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def table(figures: Sequence[Figure]) -> str:
    rows = [("figure", "median", "min", "max", "unit", "samples")]
    rows += [
        (one.name, _short(one.median), _short(min(one.samples)), _short(max(one.samples)), one.unit,
         str(len(one.samples)))
        for one in figures
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [
            row[column].ljust(widths[4]) if column == 4 else row[column].rjust(widths[column]) for column in range(1, 6)
        ]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
