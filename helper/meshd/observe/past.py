"""Traffic and latency of each member over the last 15 minutes, in fixed memory, for front ends that open only now.

Values go into parts of 15 s, of which the largest is kept. No I/O, no clock.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meshproto import local_pb2

PART_MS = 15_000
"""The same in local.proto and in meshtui's history.py."""
PARTS = 60
UNKNOWN = -1.0


def _empty() -> array[float]:
    return array("f", [UNKNOWN]) * PARTS


@dataclass(slots=True)
class _Series:
    traffic: array[float] = field(default_factory=_empty)
    latency: array[float] = field(default_factory=_empty)


class Past:
    """Remembers members that were ever reached; 480 bytes each."""

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}
        self._part = 0

    def sample(self, now_ms: int, members: Mapping[str, tuple[float, float]]) -> None:
        """(bytes per second both ways, milliseconds or 0 where not known) of those online, by id."""
        self._go_to(now_ms // PART_MS)
        place = self._part % PARTS
        for member_id, (traffic, latency) in members.items():
            series = self._series.get(member_id)
            if series is None:
                series = self._series[member_id] = _Series()
            series.traffic[place] = max(series.traffic[place], traffic)
            if latency > 0:
                series.latency[place] = max(series.latency[place], latency)

    def forget_all_but(self, member_ids: Mapping[str, object]) -> None:
        for gone in self._series.keys() - member_ids.keys():
            del self._series[gone]

    def _go_to(self, part: int) -> None:
        """Clears what lies between; a clock that went back starts over."""
        if part == self._part:
            return
        if part < self._part or part - self._part >= PARTS:
            self._series.clear()
        else:
            for between in range(self._part + 1, part + 1):
                for series in self._series.values():
                    series.traffic[between % PARTS] = series.latency[between % PARTS] = UNKNOWN
        self._part = part

    def recall(self, told: Iterable[local_pb2.MemberPast]) -> None:
        """What `messages` said before a restart, before anything is sampled. Those of another length are left out."""
        for one in told:
            if len(one.traffic) == len(one.latency_ms) == PARTS:
                self._part = one.newest_part
                series = self._series[one.member_id] = _Series()
                for number in range(PARTS):
                    place = (one.newest_part + 1 + number) % PARTS
                    series.traffic[place], series.latency[place] = one.traffic[number], one.latency_ms[number]

    def messages(self, mesh_id: str) -> list[local_pb2.MemberPast]:
        order = [(self._part + 1 + number) % PARTS for number in range(PARTS)]
        return [
            local_pb2.MemberPast(
                mesh_id=mesh_id,
                member_id=member_id,
                newest_part=self._part,
                traffic=[series.traffic[place] for place in order],
                latency_ms=[series.latency[place] for place in order],
            )
            for member_id, series in self._series.items()
            if any(value != UNKNOWN for value in series.traffic)
        ]
