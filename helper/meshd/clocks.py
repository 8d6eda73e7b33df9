"""The clock for what happened how long ago. May be imported by every part of meshd."""

from __future__ import annotations

import time


def boottime() -> float:
    """Seconds since the machine started, those in which it slept too (CLOCK_BOOTTIME), and whatever the wall clock is
    set to: what was heard before a night's sleep is a night old. asyncio's own clock stands still meanwhile."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
