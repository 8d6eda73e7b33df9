"""When the latest handshake with each member was, whatever happens to the wall clock that WireGuard writes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

STEP = 2.0
"""Seconds by which a clock that is only disciplined does not move."""


@dataclass(frozen=True, slots=True)
class _Handshake:
    stamp: float  # as WireGuard wrote it, Unix seconds
    offset: float  # of the wall clock from the boot clock, when it was seen first


class HandshakeTimes:
    """`wall` and `boot` are the two clocks' seconds now."""

    def __init__(self) -> None:
        self._known: dict[str, _Handshake] = {}

    def note(self, member_id: str, stamp: float | None, wall: float, boot: float) -> None:
        """A session that was started anew has no stamp: the last one stays known."""
        known = self._known.get(member_id)
        if stamp is not None and (known is None or known.stamp != stamp):
            # One from the future was before the clock was set back, who knows when: as good as now.
            self._known[member_id] = _Handshake(stamp, max(wall, stamp) - boot)

    def at(self, member_id: str) -> float | None:
        """By the boot clock."""
        known = self._known.get(member_id)
        return None if known is None else known.stamp - known.offset

    def shown(self, member_id: str, wall: float, boot: float) -> float:
        """By the wall clock as it is now; the same again and again. 0: never."""
        known = self._known.get(member_id)
        if known is None:
            return 0.0
        moved = wall - boot - known.offset
        return known.stamp + moved if abs(moved) > STEP else known.stamp

    def set_back(self, wall: float) -> float:
        """Seconds by which the wall clock is behind what it was at some handshake: WireGuard elsewhere takes no
        handshake of ours that is older than one it has seen (section 5.1 of its paper). 0: it is not."""
        behind = max((one.stamp for one in self._known.values()), default=0.0) - wall
        return behind if behind > STEP else 0.0

    def keep(self, member_ids: set[str]) -> None:
        """Drops all others."""
        self._known = {key: one for key, one in self._known.items() if key in member_ids}
