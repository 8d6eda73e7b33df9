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

SPARE = 16 << 20
"""Bytes that stay free on the disk beside the new file: changes go on meanwhile, and a full disk ends redis-server."""

LOOK_AGAIN = 0.05
"""Seconds between looks at a rewrite that runs."""


@dataclass(frozen=True, slots=True)
class Need:
    """`wanted`: the append-only file has grown enough, is being rewritten, or was not rewritten to the end: in the last
    two, `begun`, it does not count (`IN_FORCE`), so nobody else may rewrite one. `possible`: now. The rest is for one
    that has to wait for room on the disk, in bytes: how large the file is, what a new one takes, and what is free; else
    None."""

    wanted: bool
    possible: bool
    begun: bool = False
    size: int = 0
    takes: int = 0
    free: int | None = None


async def rewrite_need(connection: Connection, room: int = sys.maxsize) -> Need:
    """`room`: bytes free on the disk. What has grown is left alone where a second file has no room: that one holds the
    data and nothing of what it was before, and in a file it takes no more than in memory."""
    info = await connection.info("persistence")
    current, base = int(info.get("aof_current_size", 0)), int(info.get("aof_base_size", 0))
    running = info.get("aof_rewrite_in_progress") != "0" or info.get("aof_rewrite_scheduled") != "0"
    failed = info.get("aof_last_bgrewrite_status") != "ok"
    grown = current >= max(SMALLEST, GROWTH * base)
    takes = int((await connection.info("memory")).get("used_memory_dataset", current)) + SPARE
    short = takes > room
    # A full copy that is being made for another node would only have it wait, and not count for longer.
    busy = running or info.get("rdb_bgsave_in_progress") != "0"
    begun = running or failed
    told = (current, takes, room) if short and not running and (grown or failed) else ()
    return Need(begun or (grown and not short), not busy and not short, begun, *told)


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
