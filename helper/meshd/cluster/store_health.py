"""Whether the Redis beside this helper can be led with; and its restart when it hangs."""

from __future__ import annotations

import asyncio
import logging

from meshd.model.errors import MeshError
from meshd.store.replication import Replication
from meshd.store.server import StoreServer

log = logging.getLogger(__name__)

HANG_LIMIT = 0.3
"""Seconds that the primary's Redis may take to answer, twice in a row: less than the lease, so that a hang ends the
term. Twice, because it may have been this process that stood still."""

HANG_END = 8
"""Seconds without any answer after which redis-server is ended and started again: only its data counts, and that is on
disk. Far more than a slow disk takes."""


class StoreHealth:
    """Asks Redis itself; decides nothing about terms."""

    def __init__(self, server: StoreServer, replication: Replication) -> None:
        self._server = server
        self._replication = replication

    async def problem(self, run: str) -> str:
        """Why a primary that began with that run of Redis can't go on; "" when it can."""
        try:
            async with asyncio.timeout(HANG_LIMIT):
                await self._server.ping(HANG_LIMIT)
                link = await self._replication.link()
        except TimeoutError:
            return "redis hangs"
        except MeshError as error:
            return str(error)
        if not run or self._server.run_id != run:
            return "redis was restarted"
        return "" if link.role == "primary" else "redis follows another one"

    async def restart_what_hangs(self) -> None:
        """Runs until cancelled. A Redis that loads its data answers, and says so."""
        silent = 0
        while True:
            await asyncio.sleep(1)
            try:
                await self._server.ping(1)
                silent = 0
            except MeshError as error:
                away = "loading" in error.message or not self._server.run_id  # it is being started already
                silent = 0 if away else silent + 2  # a second of sleep, and one of waiting
            if silent >= HANG_END:
                log.error("redis has not answered for %d s: it is ended", silent)
                await self._server.restart()
                silent = 0
