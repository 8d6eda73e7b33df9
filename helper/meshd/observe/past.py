"""Traffic and latency of each member over the last 15 minutes, every two seconds, in fixed memory: 900 bytes a member.

A value is one byte on the scale of meshproto.byte_scale. For front ends that open only now. No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshproto import local_pb2
from meshproto.byte_scale import packed

SAMPLE_MS = 2_000
"""The same in local.proto and in meshtui's history.py."""
SAMPLES = 450
LATE = 2
"""Samples that a look at a busy machine may come late: its value held until then."""


class Past:
    """Remembers members that were ever reached."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[bytearray, bytearray]] = {}
        self._number = 0

    def sample(self, now_ms: int, members: Mapping[str, tuple[float, float]]) -> None:
        """(bytes per second both ways, milliseconds or 0 where not known) of those online, by id."""
        late = self._go_to(now_ms // SAMPLE_MS)
        places = [(self._number - before) % SAMPLES for before in range(late + 1)]
        for member_id, (traffic, latency) in members.items():
            known = self._values.get(member_id)
            if known is None:
                known = self._values[member_id] = bytearray(SAMPLES), bytearray(SAMPLES)
            for values, value in ((known[0], packed(traffic)), (known[1], packed(latency) if latency > 0 else 0)):
                for place in places:
                    values[place] = max(values[place], value)

    def forget_all_but(self, member_ids: Mapping[str, object]) -> None:
        for gone in self._values.keys() - member_ids.keys():
            del self._values[gone]

    def _go_to(self, number: int) -> int:
        """Clears what lies between; a clock that went back starts over. Returns how many samples before this one are
        still its own, because the look came late."""
        skipped = number - self._number - 1
        if skipped == -1:
            return 0
        if skipped < -1 or skipped >= SAMPLES - 1:
            self._values.clear()
        else:
            for between in range(self._number + 1, number + 1):
                place = between % SAMPLES
                for traffic, latency in self._values.values():
                    traffic[place] = latency[place] = 0
        self._number = number
        return skipped if 0 < skipped <= LATE else 0

    def recall(self, told: Iterable[local_pb2.MemberPast]) -> None:
        """What `messages` said before a restart, before anything is sampled. Those of another length are left out."""
        for one in told:
            if len(one.traffic) == len(one.latency) == SAMPLES:
                self._number = one.newest_sample
                first = (one.newest_sample + 1) % SAMPLES
                traffic, latency = bytearray(SAMPLES), bytearray(SAMPLES)
                for values, into in ((one.traffic, traffic), (one.latency, latency)):
                    into[first:], into[:first] = values[: SAMPLES - first], values[SAMPLES - first :]
                self._values[one.member_id] = traffic, latency

    def messages(self, mesh_id: str) -> list[local_pb2.MemberPast]:
        """Of everybody who was reached in that time, oldest first."""
        first = (self._number + 1) % SAMPLES
        return [
            local_pb2.MemberPast(
                mesh_id=mesh_id,
                member_id=member_id,
                newest_sample=self._number,
                traffic=bytes(traffic[first:] + traffic[:first]),
                latency=bytes(latency[first:] + latency[:first]),
            )
            for member_id, (traffic, latency) in self._values.items()
            if any(traffic)
        ]
