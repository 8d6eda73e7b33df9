"""Traffic and latency of each member over the last 24 hours, a minute each, in fixed memory: 2,880 bytes a member.

A value is one byte on the scale of meshproto.byte_scale. No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshproto import local_pb2
from meshproto.byte_scale import packed, unpacked

MINUTE_MS = 60_000
MINUTES = 24 * 60


class Day:
    """Remembers members that were ever reached."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[bytearray, bytearray]] = {}
        self._minute = 0

    def sample(self, now_ms: int, members: Mapping[str, tuple[float, float]]) -> None:
        """(bytes per second both ways, milliseconds or 0 where not known) of those online, by id."""
        self._go_to(now_ms // MINUTE_MS)
        place = self._minute % MINUTES
        for member_id, (traffic, latency) in members.items():
            known = self._values.get(member_id)
            if known is None:
                known = self._values[member_id] = bytearray(MINUTES), bytearray(MINUTES)
            known[0][place] = max(known[0][place], packed(traffic))
            if latency > 0:
                known[1][place] = max(known[1][place], packed(latency))

    def forget_all_but(self, member_ids: Iterable[str]) -> None:
        for gone in self._values.keys() - set(member_ids):
            del self._values[gone]

    def _go_to(self, minute: int) -> None:
        """Clears what lies between; a clock that went back starts over."""
        if minute < self._minute or minute - self._minute >= MINUTES:
            self._values.clear()
        else:
            for between in range(self._minute + 1, minute + 1):
                for known in self._values.values():
                    known[0][between % MINUTES] = known[1][between % MINUTES] = 0
        self._minute = minute

    def message(self, member_id: str) -> local_pb2.GetPastReply:
        """Oldest first; without values for a member that was never reached."""
        reply = local_pb2.GetPastReply(newest_minute=self._minute)
        known = self._values.get(member_id)
        if known is not None:
            for values, into in ((known[0], reply.traffic), (known[1], reply.latency_ms)):
                into.extend(map(unpacked, self._in_order(values)))
        return reply

    def _in_order(self, values: bytearray) -> bytes:
        first = (self._minute + 1) % MINUTES
        return bytes(values[first:] + values[:first])

    def messages(self, mesh_id: str) -> list[local_pb2.MemberDay]:
        """Of everybody."""
        return [
            local_pb2.MemberDay(
                mesh_id=mesh_id,
                member_id=member_id,
                newest_minute=self._minute,
                traffic=self._in_order(traffic),
                latency_ms=self._in_order(latency),
            )
            for member_id, (traffic, latency) in self._values.items()
        ]

    def recall(self, told: Iterable[local_pb2.MemberDay]) -> None:
        """What `messages` said before a restart, before anything is sampled. Those of another length are left out."""
        for one in told:
            if len(one.traffic) == len(one.latency_ms) == MINUTES:
                self._minute = one.newest_minute
                first = (one.newest_minute + 1) % MINUTES
                traffic, latency = (bytearray(MINUTES), bytearray(MINUTES))
                for values, into in ((one.traffic, traffic), (one.latency_ms, latency)):
                    into[first:], into[:first] = values[: MINUTES - first], values[MINUTES - first :]
                self._values[one.member_id] = traffic, latency
