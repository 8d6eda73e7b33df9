"""Has the append-only files of the nodes rewritten, one at a time: a voter confirms nothing while its own is rewritten,
so the others have to. The primary says whose turn it is (`turns`)."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

from meshd.cluster.turns import Want, may_begin
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

    def __init__(self, server: StoreServer, now: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self.short: Need | None = None  # of room on the disk: it waits for that
        self._now = now
        self._ours_until = -math.inf
        self._last = (0, 0)  # epoch and number of the last heartbeat
        self.want = Want(outgrown=True, begun=True)  # until it was looked at: Redis may be at it since before a restart

    def told(self, ours: bool, lease: float, epoch: int = 0, number: int = 0) -> None:
        """A heartbeat said whether it is this node's turn: for as long as the primary may have its lease. One that a
        later one overtook says nothing any more: another node may have got the turn since. Nor does one whose answer
        is that nothing has to be rewritten here: another node gets the turn then."""
        if (epoch, number) < self._last:
            return
        self._last = epoch, number
        self._ours_until = self._now() + lease if ours and self.want.outgrown else -math.inf

    @property
    def our_turn(self) -> bool:
        """As the primary said last, unless that was long ago: another node may have got it since."""
        return self._now() < self._ours_until

    async def run(self, is_our_turn: Callable[[], bool]) -> None:
        """Runs until cancelled."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            pause = LOOK_EVERY
            try:
                need = await self._server.rewrite_need()
                self.want = Want(outgrown=need.wanted, begun=need.begun)
                self.short = None if need.free is None else need
                if need.wanted and need.possible and may_begin(need.begun, is_our_turn()):
                    self.want = Want(outgrown=True, begun=True)
                    await self._server.rewrite()
                    self.want = Want()
                elif need.wanted:
                    pause = TURN_EVERY
            except (MeshError, OSError) as error:  # the turn stays ours: others' files have to count meanwhile
                self.want = replace(self.want, begun=self.want.outgrown)  # and not for ever
                log.warning("the append-only file was not rewritten: %s", error)
