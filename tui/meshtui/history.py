"""Traffic and latency of each member over the last 15 minutes, every two seconds. No I/O, no clock.

Fixed memory: two rings of 450 values. Bars are the largest value of equal spans, which stand still between two spans.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from meshproto.byte_scale import unpacked

from meshtui.model import Member, Model

if TYPE_CHECKING:
    from meshproto import local_pb2 as wire

SAMPLE_MS = 2_000
"""The same in meshd's observe/past.py."""
SAMPLES = 450
SPAN_MS = SAMPLE_MS * SAMPLES
"""15 minutes."""
COUNTS = (450, 225, 150, 100, 75, 60, 50, 45, 30, 25, 20, 15, 12, 10)
"""How many bars there may be: then each is a whole number of milliseconds."""
OLD_PART_MS = 15_000
"""Of recordings of the first format."""
UNKNOWN = -1.0
UNPACKED = tuple(unpacked(value) for value in range(256))


def _empty() -> array[float]:
    return array("f", [UNKNOWN]) * SAMPLES


@dataclass(slots=True)
class Series:
    """A ring of samples; `at` is the number of the newest one, counted from the Unix epoch."""

    values: array[float] = field(default_factory=_empty)
    at: int = 0
    _bars: dict[tuple[int, int], list[float | None]] = field(default_factory=dict)
    """What `bars` found, until a value changes: tables ask for the same in each frame."""

    def add(self, sample: int, value: float) -> None:
        place = sample % SAMPLES
        if sample > self.at:
            if sample != self.at + 1 and self.at:
                for skipped in range(max(self.at + 1, sample - SAMPLES + 1), sample):
                    self.values[skipped % SAMPLES] = UNKNOWN
            self.at = sample
            self.values[place] = value
            self._bars.clear()
        elif sample > self.at - SAMPLES and not self.values[place] >= value:
            self.values[place] = value
            self._bars.clear()

    def recall(self, newest: int, packed: bytes) -> None:
        """Values on the scale of meshproto.byte_scale, of which the last is sample `newest`: those after the newest
        known here, which is all of them at first. Quick: of thousands."""
        fresh = min(newest - self.at, SAMPLES)
        if fresh <= 0 or not any(packed):
            return
        told = array("f", map(UNPACKED.__getitem__, packed[-fresh:].rjust(fresh, b"\0")))
        ordered = self._ordered()[fresh:] + told
        first = (newest + 1) % SAMPLES
        self.values, self.at = ordered[SAMPLES - first :] + ordered[: SAMPLES - first], newest
        self._bars.clear()

    def _ordered(self) -> array[float]:
        """Oldest first; the last one is `at`."""
        first = (self.at + 1) % SAMPLES
        return self.values[first:] + self.values[:first]

    def bars(self, now_ms: int, count: int) -> list[float | None]:
        """The largest value in each of `count` equal spans, oldest first; None where nothing is known.

        `count` is one of COUNTS. Spans begin at multiples of their length, so bars move one step at a time.
        """
        span_ms = SPAN_MS // count
        last = now_ms // span_ms
        if (before := self._bars.get((count, last))) is not None:
            return before
        values, first = self._ordered(), self.at - SAMPLES + 1
        found: list[float | None] = []
        end = max(-(-(last - count + 1) * span_ms // SAMPLE_MS) - first, 0)
        for span in range(last - count + 1, last + 1):
            begin, end = end, max(-(-(span + 1) * span_ms // SAMPLE_MS) - first, 0)
            highest = max(values[begin:end], default=UNKNOWN)
            found.append(highest if highest >= 0 else None)
        if len(self._bars) > 8:
            self._bars.clear()
        self._bars[count, last] = found
        return found

    def _known(self, now_ms: int) -> list[float]:
        """Of the last 15 minutes."""
        stale = max(now_ms // SAMPLE_MS - self.at, 0)
        return [value for value in self._ordered()[stale:] if value >= 0]

    def worst(self, now_ms: int) -> float | None:
        return max(self._known(now_ms), default=None)

    def middle(self, now_ms: int) -> float | None:
        known = self._known(now_ms)
        return median(known) if known else None


@dataclass(slots=True)
class Past:
    """One member: received plus sent bytes per second, and milliseconds of latency."""

    traffic: Series = field(default_factory=Series)
    latency: Series = field(default_factory=Series)


NOTHING = Past()
"""Of who was never reached."""


class History:
    """Learns from the model: a value holds until the helper says another. Forgets who is gone."""

    def __init__(self) -> None:
        self._past: dict[str, dict[str, Past]] = {}
        self._learnt: dict[str, Mapping[str, Member]] = {}
        self._sample = 0

    def learn(self, model: Model, now_ms: int) -> None:
        """Only what is new since the last time, or everything where another sample has begun."""
        sample, learnt = now_ms // SAMPLE_MS, self._learnt
        if sample != self._sample:
            self._sample, learnt = sample, {}
        for mesh in model.meshes:
            before = learnt.get(mesh.id, {})
            if before is not mesh.members:
                self._learn(sample, self._past.setdefault(mesh.id, {}), mesh.members, before)
        self._learnt = {mesh.id: mesh.members for mesh in model.meshes}
        self._past = {mesh.id: self._past[mesh.id] for mesh in model.meshes}

    @staticmethod
    def _learn(
        sample: int, pasts: dict[str, Past], members: Mapping[str, Member], before: Mapping[str, Member]
    ) -> None:
        for gone in pasts.keys() - members.keys():
            del pasts[gone]
        for member_id, member in members.items():
            if member.online and not member.is_self and before.get(member_id) is not member:
                past = pasts.get(member_id)
                if past is None:
                    past = pasts[member_id] = Past()
                past.traffic.add(sample, member.rx_rate + member.tx_rate)
                if member.latency_ms is not None:
                    past.latency.add(sample, member.latency_ms)

    def recall(self, past: Iterable[wire.MemberPast]) -> None:
        """What the helper remembers from before this program started."""
        for one in past:
            known = self._past.setdefault(one.mesh_id, {}).setdefault(one.member_id, Past())
            known.traffic.recall(one.newest_sample, one.traffic)
            known.latency.recall(one.newest_sample, one.latency)
            for series, parts in ((known.traffic, one.traffic_parts), (known.latency, one.latency_parts)):
                first = one.newest_part - len(parts) + 1
                for number, part in enumerate(parts[-SAMPLES:], max(len(parts) - SAMPLES, 0)):
                    if part >= 0:
                        series.add(-(-(first + number) * OLD_PART_MS // SAMPLE_MS), part)

    def of(self, mesh_id: str, member_id: str) -> Past:
        return self._past.get(mesh_id, {}).get(member_id) or NOTHING
