"""The last 24 hours of a member, which meshd tells when somebody looks at the whole story. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshtui.format import milliseconds, rate, sparkline
from meshtui.listings.listing import Cell, Line
from meshtui.look import Tone

BARS = 24
"""An hour each."""


@dataclass(frozen=True, slots=True)
class Day:
    """Values of equal spans, oldest first; negative where nothing is known."""

    traffic: Sequence[float]
    latency_ms: Sequence[float]


def day_lines(day: Day) -> list[Line]:
    """Nothing where nothing is known."""
    lines: list[Line] = []
    for values, word, show in (
        (day.latency_ms, "latency, {} at worst", milliseconds),
        (day.traffic, "traffic, {} at most", rate),
    ):
        bars = _bars(values)
        highest = max((value for value in bars if value is not None), default=None)
        if highest is not None:
            cells = (Cell(f"{sparkline(bars)}  ", Tone.DIM), Cell(word.format(show(highest))))
            lines.append(Line("" if lines else "24 hours", cells))
    return lines


def _bars(values: Sequence[float]) -> list[float | None]:
    each = -(-len(values) // BARS) or 1
    spans = [values[at : at + each] for at in range(0, len(values), each)]
    return [max((value for value in span if value >= 0), default=None) for span in spans]
