"""Connections through the front door end with those of the callers, however these end."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from meshd.rpc.front_door import CONNECTIONS_PER_USER

if TYPE_CHECKING:
    from conftest import Served

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a gRPC client says first (RFC 9113, section 3.4), with empty settings."""


async def come_and_go(served: Served, read: bool) -> None:
    """As a client that is killed at any time: it may have read what meshd said, or not."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.setblocking(False)
        await loop.sock_connect(caller, str(served.socket))
        await loop.sock_sendall(caller, PREFACE)
        there = asyncio.Event()
        loop.add_reader(caller, there.set)
        await there.wait()
        loop.remove_reader(caller)
        if read:
            await loop.sock_recv(caller, 4096)


@pytest.mark.parametrize("read", [True, False])
async def test_callers_that_have_gone_take_no_place(served: Served, read: bool) -> None:
    for _ in range(CONNECTIONS_PER_USER + 10):
        async with asyncio.timeout(10):
            await come_and_go(served, read)
    path = "/meshproto.Meshd/GetStatus"
    assert await served.call_as(0, path) == {path: "OK 1"}
