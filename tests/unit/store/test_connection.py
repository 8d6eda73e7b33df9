"""Connections to a real redis-server: one that the server closes is not used again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from meshd.store.errors import StoreFailed

if TYPE_CHECKING:
    from conftest import MakeServer


async def test_a_connection_that_redis_is_about_to_close_is_not_used_again(make_server: MakeServer) -> None:
    """A server that becomes a replica ends every blocking read, and the connection with it."""
    connection = (await make_server()).connection

    async def wait_and_ask() -> None:
        with pytest.raises(StoreFailed, match="UNBLOCKED"):
            await connection.call("XREAD", "BLOCK", 10_000, "STREAMS", "changes", "$", timeout=20)
        assert await connection.call("PING") == b"PONG"

    for _ in range(10):
        waiting = [asyncio.create_task(wait_and_ask()) for _ in range(20)]
        async with asyncio.timeout(20):
            while b"blocked_clients:20" not in await connection.call("INFO", "clients"):
                pass
        await connection.call("REPLICAOF", "127.0.0.1", 1)
        await asyncio.gather(*waiting)
        await connection.call("REPLICAOF", "NO", "ONE")
