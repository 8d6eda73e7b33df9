"""The client of the local socket on a machine that is slow."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import grpc.aio
import pytest
from meshproto import local_pb2
from meshproto.client import connect_async
from meshproto.local_pb2_grpc import MeshdServicer, add_MeshdServicer_to_server


class Meshd(MeshdServicer):
    async def GetStatus(
        self, request: local_pb2.GetStatusRequest, context: grpc.aio.ServicerContext[local_pb2.GetStatusRequest, object]
    ) -> local_pb2.Status:
        return local_pb2.Status(version="1")


async def test_a_helper_that_takes_half_a_second_to_greet_is_there(tmp_path: Path) -> None:
    server = grpc.aio.server()
    add_MeshdServicer_to_server(Meshd(), server)
    server.add_insecure_port(f"unix:{tmp_path}/inner")
    await server.start()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        there, back = await asyncio.open_unix_connection(tmp_path / "inner")
        await asyncio.gather(copy(reader, back), copy(there, writer))

    slow = await asyncio.start_unix_server(accept, tmp_path / "outer")
    channel, stub = connect_async(tmp_path / "outer")
    try:
        status = await stub.GetStatus(local_pb2.GetStatusRequest(), timeout=10)
        assert status.version == "1"
    finally:
        await channel.close()
        slow.close()
        await server.stop(None)


async def test_without_a_helper_the_answer_comes_at_once(tmp_path: Path) -> None:
    channel, stub = connect_async(tmp_path / "nobody")
    began = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetStatus(local_pb2.GetStatusRequest(), timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert time.monotonic() - began < 2
    await channel.close()
