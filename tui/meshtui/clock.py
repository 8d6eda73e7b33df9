"""Now, and the local time of a moment. Handed to the app, so that tests and pictures can stop it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo


@dataclass(frozen=True, slots=True)
class Clock:
    """`seconds` gives Unix time; `zone` is None for the zone of this machine."""

    seconds: Callable[[], float] = time.time
    zone: tzinfo | None = None

    def now_ms(self) -> int:
        return int(self.seconds() * 1000)

    def local(self, at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self.zone)
