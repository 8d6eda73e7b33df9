"""Rewriting the append-only file. Redis never does it by itself here: confirmations pause meanwhile, so the cluster
has one voter at a time do it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from meshd.model.errors import Failed
from meshd.store.connection import Connection

SMALLEST = 16 << 20
"""Bytes. A file smaller than this loads in well under a second, so it is left alone."""

GROWTH = 2
"""Rewritten when it is this many times its size after the last rewrite; Redis' own default, 100 %, says the same."""

LOOK_AGAIN = 0.05
"""Seconds between looks at a rewrite that runs."""


@dataclass(frozen=True, slots=True)
class Need:
    """`wanted`: the append-only file has grown enough, is being rewritten, or was not rewritten to the end: in the last
    two it does not count (`IN_FORCE`), so nobody else may rewrite one. `possible`: now."""

    wanted: bool
    possible: bool


async def rewrite_need(connection: Connection, room: int = sys.maxsize) -> Need:
    """`room`: bytes on the disk for a second file. What has grown is left alone without it."""
    info = await connection.info("persistence")
    current, base = int(info.get("aof_current_size", 0)), int(info.get("aof_base_size", 0))
    running = info.get("aof_rewrite_in_progress") != "0" or info.get("aof_rewrite_scheduled") != "0"
    failed = info.get("aof_last_bgrewrite_status") != "ok"
    grown = current >= max(SMALLEST, GROWTH * base) and current < room
    # A full copy that is being made for another node would only have it wait, and not count for longer.
    busy = running or info.get("rdb_bgsave_in_progress") != "0"
    return Need(running or failed or grown, not busy and current < room)


async def rewrite(connection: Connection, timeout: float) -> None:
    """Rewrites the file and waits for the end of it. Raises Failed when it fails or takes over `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            await connection.call("BGREWRITEAOF")
            while True:
                info = await connection.info("persistence")
                if info.get("aof_rewrite_in_progress") == "0" and info.get("aof_rewrite_scheduled") == "0":
                    break
                await asyncio.sleep(LOOK_AGAIN)
    except TimeoutError:
        raise Failed(f"{connection.name} has been rewriting its append-only file for {timeout:g} s") from None
    if info.get("aof_last_bgrewrite_status") != "ok":
        raise Failed(f"{connection.name} could not rewrite its append-only file", "look for a full disk")
