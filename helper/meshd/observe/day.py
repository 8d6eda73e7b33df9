"""Traffic and latency of each member over the last 24 hours, a minute each, in fixed memory: 2,880 bytes a member.

A value is one byte on a logarithmic scale, within 6 % of what was measured. No I/O, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from meshproto import local_pb2

MINUTE_MS = 60_000
MINUTES = 24 * 60
UNKNOWN = -1.0

STEPS = 6
"""For each doubling."""
FINEST = 0.01
"""Milliseconds, or bytes per second, from which on values differ. 254 steps then end at 55 GB/s."""


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
            first = (self._minute + 1) % MINUTES
            for values, into in ((known[0], reply.traffic), (known[1], reply.latency_ms)):
                into.extend(map(unpacked, values[first:] + values[:first]))
        return reply


def packed(value: float) -> int:
    """1 to 255; 0 stands for unknown."""
    return 1 + min(round(math.log2(1 + max(value, 0.0) / FINEST) * STEPS), 254)


def unpacked(value: int) -> float:
    return UNKNOWN if value == 0 else (2 ** ((value - 1) / STEPS) - 1) * FINEST
