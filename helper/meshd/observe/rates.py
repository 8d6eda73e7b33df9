"""Traffic per second of each WireGuard session, from counters that only grow within a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshproto.keys import PublicKey

SMOOTHING = 0.5
"""Weight of the newest sample: a rate follows within two samples and doesn't jump with each burst."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Bytes per second."""

    rx: float = 0.0
    tx: float = 0.0


class Rates:
    """Feed it counters from time to time; a counter that went down belongs to a new session."""

    def __init__(self) -> None:
        self._counters: dict[PublicKey, tuple[int, int]] = {}
        self._rates: dict[PublicKey, Rate] = {}
        self._at: float | None = None

    def sample(self, now: float, counters: Mapping[PublicKey, tuple[int, int]]) -> None:
        """`now` in seconds of any clock that only grows; counters are (rx, tx) bytes."""
        elapsed = None if self._at is None else now - self._at
        if elapsed is not None and elapsed <= 0:
            return
        rates = {}
        for key, (rx, tx) in counters.items():
            before = self._counters.get(key)
            if elapsed is None or before is None:
                rates[key] = Rate()
                continue
            old = self._rates.get(key, Rate())
            rates[key] = Rate(
                _smooth(old.rx, max(rx - before[0], 0) / elapsed), _smooth(old.tx, max(tx - before[1], 0) / elapsed)
            )
        self._counters, self._rates, self._at = dict(counters), rates, now

    def of(self, key: PublicKey) -> Rate:
        return self._rates.get(key) or Rate()


def _smooth(old: float, new: float) -> float:
    smoothed = old + (new - old) * SMOOTHING
    return smoothed if smoothed >= 1 else 0.0
