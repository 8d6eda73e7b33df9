"""Has the append-only files of the nodes rewritten, one at a time: a voter confirms nothing while its own is rewritten,
so the others have to. The primary says whose turn it is (`Heartbeats.turn`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from meshd.model.errors import MeshError
from meshd.store.rewrite import Need
from meshd.store.server import StoreServer

log = logging.getLogger(__name__)

LOOK_EVERY = 10.0
"""Seconds between looks at the file, which grows by a few kB with each change."""

TURN_EVERY = 0.5
"""Seconds between looks whether it is this node's turn."""


class Rewriting:
    """Of one node. What the election knows of it goes with heartbeats."""

    def __init__(self, server: StoreServer) -> None:
        self._server = server
        self.outgrown = False  # wanted, being done, or failed
        self.our_turn = False  # as the primary said last
        self.short: Need | None = None  # of room on the disk: it waits for that

    async def run(self, is_our_turn: Callable[[], bool]) -> None:
        """Runs until cancelled."""
        pause = LOOK_EVERY
        while True:
            await asyncio.sleep(pause)
            pause = LOOK_EVERY
            try:
                need = await self._server.rewrite_need()
                self.outgrown, self.short = need.wanted, None if need.free is None else need
                if need.wanted and need.possible and is_our_turn():
                    await self._server.rewrite()
                    self.outgrown = False
                elif need.wanted:
                    pause = TURN_EVERY
            except (MeshError, OSError) as error:  # the turn stays ours: others' files have to count meanwhile
                log.warning("the append-only file was not rewritten: %s", error)
