"""Traffic and latency of each member over the last 15 minutes. No I/O, no clock.

Values go into parts of 15 s, of which the largest is kept: fixed memory, and bars that stand still between two parts.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshtui.model import Member, Model

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
    _bars: dict[tuple[int, int], list[float | None]] = field(default_factory=dict)
    """What `bars` found, until a value changes: tables ask for the same in each frame."""

    def add(self, part: int, value: float) -> None:
        place = part % PARTS
        if part > self.at:
            for skipped in range(max(self.at + 1, part - PARTS + 1), part):
                self.values[skipped % PARTS] = UNKNOWN
            self.at = part
            self.values[place] = value
            self._bars.clear()
        elif part > self.at - PARTS and not self.values[place] >= value:
            self.values[place] = value
            self._bars.clear()

    def bars(self, now_ms: int, count: int) -> list[float | None]:
        """The largest value in each of `count` equal spans, oldest first; None where nothing is known.

        `count` divides PARTS. Spans begin at multiples of their length, so bars move one step at a time.
        """
        each = PARTS // count
        last = now_ms // PART_MS // each
        if (before := self._bars.get((count, last))) is not None:
            return before
        found: list[float | None] = []
        for span in range(last - count + 1, last + 1):
            known = [
                value
                for part in range(span * each, span * each + each)
                if self.at - PARTS < part <= self.at and not math.isnan(value := self.values[part % PARTS])
            ]
            found.append(max(known, default=None))
        if len(self._bars) > 8:
            self._bars.clear()
        self._bars[count, last] = found
        return found

    def worst(self, now_ms: int) -> float | None:
        return max((value for value in self.bars(now_ms, PARTS) if value is not None), default=None)


@dataclass(slots=True)
class Past:
    """One member: received plus sent bytes per second, and milliseconds of latency."""

    traffic: Series = field(default_factory=Series)
    latency: Series = field(default_factory=Series)


class History:
    """Learns from the model: a value holds until the helper says another. Forgets who is gone."""

    def __init__(self) -> None:
        self._past: dict[str, dict[str, Past]] = {}
        self._learnt: dict[str, Mapping[str, Member]] = {}
        self._part = 0

    def learn(self, model: Model, now_ms: int) -> None:
        """Only what is new since the last time, or everything where another part has begun."""
        part, learnt = now_ms // PART_MS, self._learnt
        if part != self._part:
            self._part, learnt = part, {}
        for mesh in model.meshes:
            before = learnt.get(mesh.id, {})
            if before is not mesh.members:
                self._learn(part, self._past.setdefault(mesh.id, {}), mesh.members, before)
        self._learnt = {mesh.id: mesh.members for mesh in model.meshes}
        self._past = {mesh.id: self._past[mesh.id] for mesh in model.meshes}

    @staticmethod
    def _learn(part: int, pasts: dict[str, Past], members: Mapping[str, Member], before: Mapping[str, Member]) -> None:
        for gone in pasts.keys() - members.keys():
            del pasts[gone]
        for member_id, member in members.items():
            if member.online and not member.is_self and before.get(member_id) is not member:
                past = pasts.get(member_id)
                if past is None:
                    past = pasts[member_id] = Past()
                past.traffic.add(part, member.rx_rate + member.tx_rate)
                if member.latency_ms is not None:
                    past.latency.add(part, member.latency_ms)

    def recall(self, past: Iterable[wire.MemberPast]) -> None:
        """What the helper remembers from before this program started."""
        for one in past:
            known = self._past.setdefault(one.mesh_id, {}).setdefault(one.member_id, Past())
            for series, values in ((known.traffic, one.traffic), (known.latency, one.latency_ms)):
                first = one.newest_part - len(values) + 1
                for number, value in enumerate(values[-PARTS:], max(len(values) - PARTS, 0)):
                    if value >= 0:
                        series.add(first + number, value)

    def of(self, mesh_id: str, member_id: str) -> Past:
        return self._past.get(mesh_id, {}).get(member_id) or Past()
