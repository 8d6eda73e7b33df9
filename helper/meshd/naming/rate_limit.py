"""How much one asker gets: a token bucket each. The clock is an argument; the caller says whom it counts."""

from __future__ import annotations

from collections.abc import Hashable


class RateLimit:
    """`rate` a second on average and `burst` at once, for each key. Keys with their full burst again are dropped."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._full_at: dict[Hashable, float] = {}  # when the bucket will be full again, in seconds of the clock
        self._swept = 0.0

    def take(self, key: Hashable, now: float) -> bool:
        """Whether one more is allowed."""
        if now - self._swept > 60:
            self._swept = now
            self._full_at = {one: full for one, full in self._full_at.items() if full > now}
        full_at = max(self._full_at.get(key, now), now) + 1 / self._rate
        if full_at - now > self._burst / self._rate + 1e-6:  # clocks' sums are not exact
            return False
        self._full_at[key] = full_at
        return True

    def __len__(self) -> int:
        return len(self._full_at)
