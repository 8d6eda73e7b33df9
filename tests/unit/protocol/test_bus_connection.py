"""Connections to what is no bus, or ends too early: an error in time, never a loop without an end."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from meshproto.bus_connection import BusError, call, connect
from private_bus import PrivateBus, until


@pytest.mark.parametrize("says", [b"", b"OK", b"REJECTED\r\n", b"OK 1234\r\nrubbish", b"\xff\r\n" * 100, b"x" * 9999])
async def test_what_hangs_up_or_talks_rubbish(tmp_path: Path, says: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "bus")
    async with asyncio.timeout(60):
        with pytest.raises(BusError):
            await connect(f"unix:path={tmp_path / 'bus'}")
    server.close()


async def test_what_says_nothing(tmp_path: Path) -> None:
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "bus")
    with pytest.raises(BusError, match="TimeoutError"):
        await connect(f"unix:path={tmp_path / 'bus'}", limit_s=0.1)
    done.set()
    server.close()


@pytest.mark.parametrize("address", ["unix:path=/nowhere/bus", "tcp:host=192.0.2.1,port=1", "unix:", "rubbish", ":::"])
async def test_addresses_that_lead_nowhere(address: str) -> None:
    with pytest.raises(BusError):
        await connect(address)


async def test_the_next_address_is_used_where_the_first_leads_nowhere(tmp_path: Path) -> None:
    bus = PrivateBus(tmp_path)
    bus.start()
    try:
        connection = await connect(f"unix:path=/nowhere/bus;unix:path={bus.path}")
        daemon = "org.freedesktop.DBus"
        (name,) = await call(connection, daemon, "/org/freedesktop/DBus", daemon, "GetId")
        assert len(name) == 32
        bus.stop()
        with pytest.raises(BusError, match="ended during GetId"):
            await call(connection, daemon, "/org/freedesktop/DBus", daemon, "GetId")
        with pytest.raises(BusError, match="the bus has ended"):
            await call(connection, daemon, "/org/freedesktop/DBus", daemon, "GetId")
        connection.close()
    finally:
        bus.stop()


async def test_a_bus_that_is_busy_is_waited_for(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "bus"))
    listening.listen(0)
    before = socket.socket(socket.AF_UNIX)
    before.connect(str(tmp_path / "bus"))
    with pytest.raises(BusError, match="TimeoutError"):
        await connect(f"unix:path={tmp_path / 'bus'}", limit_s=0.1)
    asked = asyncio.create_task(connect(f"unix:path={tmp_path / 'bus'};unix:path=/nowhere/bus", limit_s=30))
    await asyncio.sleep(0)
    assert not asked.done()
    listening.accept()[0].close()
    listening.settimeout(30)
    (await asyncio.to_thread(listening.accept))[0].close()
    with pytest.raises(BusError):
        await asked
    before.close()
    listening.close()


async def test_what_the_bus_says_and_nobody_can_read_is_an_error_of_the_call(tmp_path: Path) -> None:
    bus = PrivateBus(tmp_path)
    bus.start()
    try:
        connection = await connect(f"unix:path={bus.path}")
        stranger = await connect(f"unix:path={bus.path}")
        asked = asyncio.create_task(call(connection, str(stranger.unique_name), "/", "a.b", "C", limit_s=30))
        stranger._loop.remove_reader(stranger._fd)  # it answers nothing
        await until(lambda: connection._method_return_handlers, "the call")
        connection._unmarshaller.unmarshall = lambda: int("rubbish")
        connection._message_reader()
        with pytest.raises(BusError, match="C failed: invalid literal"):
            await asked
        connection.close()
        stranger.close()
    finally:
        bus.stop()


async def test_a_call_that_is_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    bus = PrivateBus(tmp_path)
    bus.start()
    try:
        connection = await connect(f"unix:path={bus.path}")
        stranger = await connect(f"unix:path={bus.path}")
        stranger._loop.remove_reader(stranger._fd)  # it answers nothing
        with pytest.raises(BusError, match="did not answer C"):
            await call(connection, str(stranger.unique_name), "/", "a.b", "C", limit_s=0.1)
        assert not connection._method_return_handlers
        connection.close()
        stranger.close()
    finally:
        bus.stop()
