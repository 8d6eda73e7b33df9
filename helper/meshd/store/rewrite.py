"""Rewriting the append-only file. Redis never does it by itself here: confirmations pause meanwhile, so the cluster
has one voter at a time do it."""

from __future__ import annotations

import asyncio
import sys

from meshd.model.errors import Failed
from meshd.store.connection import Connection

SMALLEST = 16 << 20
"""Bytes. A file smaller than this loads in well under a second, so it is left alone."""

GROWTH = 2
"""Rewritten when it is this many times its size after the last rewrite; Redis' own default, 100 %, says the same."""

LOOK_AGAIN = 0.05
"""Seconds between looks at a rewrite that runs."""


async def needs_rewrite(connection: Connection, room: int = sys.maxsize) -> bool:
    """Whether the append-only file has grown enough, or was not rewritten to the end, after which it does not count
    (`IN_FORCE`). Not while it is being rewritten, nor without `room` on the disk, in bytes, for a second one."""
    info = await connection.info("persistence")
    current, base = int(info.get("aof_current_size", 0)), int(info.get("aof_base_size", 0))
    if info.get("aof_rewrite_in_progress") != "0" or info.get("aof_rewrite_scheduled") != "0" or current >= room:
        return False
    return current >= max(SMALLEST, GROWTH * base) or info.get("aof_last_bgrewrite_status") != "ok"


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
