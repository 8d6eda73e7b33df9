"""Calls of members and others that had no right to them, as events. Owned by `node_duties`."""

from __future__ import annotations

import time
from collections.abc import Callable

from meshd.cluster.callers import source_address
from meshd.model.errors import NotPermitted

AGAIN = 600.0
"""Seconds until the same refusal is told once more: who tries all the time shall not fill the journal."""

KEPT = 500
"""Different refusals within that time. Of more, the later ones are only in the log."""


class Refusals:
    def __init__(
        self, tell: Callable[[str], None], now: Callable[[], float] = time.monotonic, kept: int = KEPT
    ) -> None:
        self._tell = tell
        self._now = now
        self._kept = kept
        self._told: dict[str, float] = {}

    def note(self, source: str, what: str, reason: str) -> None:
        """`source` as gRPC names it, or an address."""
        self.tell(f"refused {what} from {_address(source)}: {reason}")

    def tell(self, text: str) -> None:
        now = self._now()
        self._told = {text: at for text, at in self._told.items() if now - at < AGAIN}
        if text not in self._told and len(self._told) < self._kept:
            self._told[text] = now
            self._tell(text)


def _address(source: str) -> str:
    try:
        return str(source_address(source))
    except NotPermitted:
        return source or "nowhere"
