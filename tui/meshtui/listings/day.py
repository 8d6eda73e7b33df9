"""The past of a member where there is room for it: 15 minutes across the screen, and the last 24 hours, which meshd
tells when somebody looks at the whole story. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshtui.format import milliseconds, rate, sparkline
from meshtui.history import COUNTS, SPAN_MS, Past
from meshtui.listings.listing import Cell, Line
from meshtui.listings.members import latency_words, traffic_words
from meshtui.look import Tone
from meshtui.model import Member
from meshtui.view import View

BARS = 24
"""An hour each."""


@dataclass(frozen=True, slots=True)
class Day:
    """Values of equal spans, oldest first; negative where nothing is known."""

    traffic: Sequence[float]
    latency_ms: Sequence[float]


def day_lines(day: Day, past: Past, now_ms: int) -> list[Line]:
    """Nothing where nothing is known. The last 15 minutes are of the day: its worst is never better than theirs."""
    lines: list[Line] = []
    for values, lately, word, show in (
        (day.latency_ms, past.latency, "latency, {} at worst in 24 h", milliseconds),
        (day.traffic, past.traffic, "traffic, {} at most in 24 h", rate),
    ):
        bars = _bars(values)
        highest = max((value for value in bars if value is not None), default=None)
        if highest is not None:
            highest = max(highest, lately.worst(now_ms) or 0.0)
            cells = (Cell(f"{sparkline(bars)}  ", Tone.DIM), Cell(word.format(show(highest))))
            lines.append(Line("" if lines else "24 hours", cells))
    return lines


def quarter_lines(member: Member, view: View, room: int) -> list[Line]:
    """15 minutes in as many bars as have room, with what a bar is."""
    count = next((count for count in COUNTS if count <= room), COUNTS[-1])
    past, a_bar = view.past(member), f"per {SPAN_MS // count / 1000:g} s"
    lines: list[Line] = []
    for label, series, words in (
        ("Latency", past.latency, latency_words(member, view)),
        ("Traffic", past.traffic, traffic_words(member, view)),
    ):
        lines += [
            Line(label, (words,)),
            Line(a_bar, (Cell(sparkline(series.bars(view.now_ms, count)), Tone.DIM),)),
        ]
    return lines


def _bars(values: Sequence[float]) -> list[float | None]:
    each = -(-len(values) // BARS) or 1
    spans = [values[at : at + each] for at in range(0, len(values), each)]
    return [max((value for value in span if value >= 0), default=None) for span in spans]
