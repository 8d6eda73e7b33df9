"""Traffic and latency of each member over the last 15 minutes. No I/O, no clock.

Values go into parts of 15 s, of which the largest is kept: fixed memory, and bars that stand still between two parts.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshtui.model import Model

if TYPE_CHECKING:
    from meshproto import local_pb2 as wire

PART_MS = 15_000
PARTS = 60
"""Parts kept: 15 minutes."""
UNKNOWN = math.nan


@dataclass(slots=True)
class Series:
    """A ring of parts; `at` is the number of the newest one, counted from the Unix epoch."""

    values: array[float] = field(default_factory=lambda: array("f", [UNKNOWN] * PARTS))
    at: int = 0

    def add(self, part: int, value: float) -> None:
        place = part % PARTS
        if part > self.at:
            for skipped in range(max(self.at + 1, part - PARTS + 1), part):
                self.values[skipped % PARTS] = UNKNOWN
            self.at = part
            self.values[place] = value
        elif part > self.at - PARTS and not self.values[place] >= value:
            self.values[place] = value

    def bars(self, now_ms: int, count: int) -> list[float | None]:
        """The largest value in each of `count` equal spans, oldest first; None where nothing is known.

        `count` divides PARTS. Spans begin at multiples of their length, so bars move one step at a time.
        """
        each = PARTS // count
        last = now_ms // PART_MS // each
        found: list[float | None] = []
        for span in range(last - count + 1, last + 1):
            known = [
                value
                for part in range(span * each, span * each + each)
                if self.at - PARTS < part <= self.at and not math.isnan(value := self.values[part % PARTS])
            ]
            found.append(max(known, default=None))
        return found

    def worst(self, now_ms: int) -> float | None:
        return max((value for value in self.bars(now_ms, PARTS) if value is not None), default=None)


@dataclass(slots=True)
class Past:
    """One member: received plus sent bytes per second, and milliseconds of latency."""

    traffic: Series = field(default_factory=Series)
    latency: Series = field(default_factory=Series)


class History:
    """Learns from the model once a second, because a value holds until the helper says another; forgets who is gone."""

    def __init__(self) -> None:
        self._past: dict[tuple[str, str], Past] = {}

    def learn(self, model: Model, now_ms: int) -> None:
        part = now_ms // PART_MS
        present: dict[tuple[str, str], Past] = {}
        for mesh in model.meshes:
            for member in mesh.members.values():
                key = mesh.id, member.id
                past = present[key] = self._past.get(key) or Past()
                if member.online and not member.is_self:
                    past.traffic.add(part, member.rx_rate + member.tx_rate)
                    if member.latency_ms is not None:
                        past.latency.add(part, member.latency_ms)
        self._past = present

    def recall(self, past: Iterable[wire.MemberPast]) -> None:
        """What the helper remembers from before this program started."""
        for one in past:
            known = self._past.setdefault((one.mesh_id, one.member_id), Past())
            for series, values in ((known.traffic, one.traffic), (known.latency, one.latency_ms)):
                first = one.newest_part - len(values) + 1
                for number, value in enumerate(values[-PARTS:], max(len(values) - PARTS, 0)):
                    if value >= 0:
                        series.add(first + number, value)

    def of(self, mesh_id: str, member_id: str) -> Past:
        return self._past.get((mesh_id, member_id)) or Past()
