"""A rate or a latency in one byte on a logarithmic scale, within 6 % of what was measured."""

from __future__ import annotations

import math

UNKNOWN = -1.0

STEPS = 6
"""For each doubling."""
FINEST = 0.01
"""Milliseconds, or bytes per second, from which on values differ. 254 steps then end at 55 GB/s."""


def packed(value: float) -> int:
    """1 to 255; 0 stands for unknown."""
    return 1 + min(round(math.log2(1 + max(value, 0.0) / FINEST) * STEPS), 254)


def unpacked(value: int) -> float:
    return UNKNOWN if value == 0 else (2 ** ((value - 1) / STEPS) - 1) * FINEST
