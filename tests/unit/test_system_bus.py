"""The connection to a real dbus-daemon: absent, late, ended, silent, hanging up; signals that others pretend to be."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from meshd import system_bus
from meshd.system_bus import LOGIND, RESOLVED, BusError, SystemBus, bus_path
from private_bus import PrivateBus, overtaken, until

MANAGER = "org.freedesktop.login1.Manager"


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateBus]:
    private = PrivateBus(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={private.path}")
    monkeypatch.setattr(system_bus, "LOOK_AGAIN", 0.05)
    yield private
    private.stop()


@pytest.fixture
async def bus(daemon: PrivateBus) -> AsyncIterator[SystemBus]:
    bus = SystemBus()
    task = asyncio.create_task(bus.run())
    yield bus
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def service(daemon: PrivateBus, name: str) -> Any:
    connection = await daemon.connect()
    await connection.request_name(name)
    return connection


def gone(connection: Any) -> None:
    connection.close()


def prepare_for_sleep(path: str = "/org/freedesktop/login1", destination: str | None = None) -> Any:
    from dbus_next import Message

    message = Message.new_signal(path, MANAGER, "PrepareForSleep", "b", [True])
    message.destination = destination
    return message


def test_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)
    assert bus_path() == Path("/run/dbus/system_bus_socket")
    for address, path in (
        ("unix:path=/tmp/bus,guid=1", Path("/tmp/bus")),
        ("tcp:host=192.0.2.1;unix:path=/tmp/b", Path("/tmp/b")),
        ("unix:abstract=x", None),
    ):
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        assert bus_path() == path


async def test_no_bus(bus: SystemBus) -> None:
    assert bus.owner(RESOLVED) == ""
    with pytest.raises(BusError, match="no system bus"):
        await bus.call(RESOLVED, "/", "a.b", "C")


async def test_owners_come_and_go_with_services_and_the_bus(daemon: PrivateBus, bus: SystemBus) -> None:
    told: list[tuple[str, bool]] = []
    bus.on_owner.append(lambda name, owner: told.append((name, bool(owner))))
    daemon.start()
    before = await service(daemon, RESOLVED)
    await until(lambda: bus.owner(RESOLVED) == before.unique_name, "an owner")
    gone(before)
    await until(lambda: not bus.owner(RESOLVED), "no owner")
    after = await service(daemon, RESOLVED)
    await until(lambda: bus.owner(RESOLVED) == after.unique_name, "another owner")
    daemon.stop()
    await until(lambda: not bus.owner(RESOLVED), "the bus to be missed")
    gone(after)
    daemon.start()
    back = await service(daemon, RESOLVED)
    await until(lambda: bus.owner(RESOLVED) == back.unique_name, "the owner on the new bus")
    assert told == [(RESOLVED, True), (RESOLVED, False)] * 2 + [(RESOLVED, True)]
    gone(back)


async def test_a_service_that_was_there_before(daemon: PrivateBus, bus: SystemBus) -> None:
    daemon.start()
    there = await service(daemon, LOGIND)
    await until(lambda: bus.owner(LOGIND) == there.unique_name, "the owner")
    gone(there)


async def test_a_service_that_goes_while_it_is_asked_for(daemon: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.start()
    there, later = await service(daemon, RESOLVED), await service(daemon, LOGIND)

    async def goes() -> None:
        gone(there)

    overtaken(monkeypatch, RESOLVED, goes)
    bus = SystemBus()
    task = asyncio.create_task(bus.run())
    await until(lambda: bus.owner(LOGIND) == later.unique_name, "logind, which is asked for next")
    assert bus.owner(RESOLVED) == ""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    gone(later)


async def test_a_signal_counts_from_its_owner_only(daemon: PrivateBus, bus: SystemBus) -> None:
    heard: list[Any] = []
    bus.on_signal.append(lambda member, body: heard.append((member, body)))
    daemon.start()
    logind = await service(daemon, LOGIND)
    await until(lambda: bus.owner(LOGIND), "logind")
    await logind.send(prepare_for_sleep())
    await until(lambda: heard == [("PrepareForSleep", [True])], "the signal")
    stranger = await daemon.connect()
    await stranger.send(prepare_for_sleep(destination=bus._bus.unique_name))
    await stranger.send(prepare_for_sleep())
    await logind.send(prepare_for_sleep())
    await until(lambda: len(heard) == 2, "the second signal of logind")
    gone(stranger)
    gone(logind)


async def test_calls(daemon: PrivateBus, bus: SystemBus, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.start()
    resolved = await service(daemon, RESOLVED)
    await until(lambda: bus.owner(RESOLVED), "resolved")
    assert await bus.call(RESOLVED, "/", "org.freedesktop.DBus.Peer", "Ping") == []
    with pytest.raises(BusError, match="refuses") as refused:
        await bus.call(RESOLVED, "/", "a.b", "C")
    assert refused.value.name == "org.freedesktop.DBus.Error.UnknownMethod"
    with pytest.raises(BusError, match="refuses") as missing:
        await bus.call("org.freedesktop.nobody", "/", "a.b", "C")
    assert missing.value.name == "org.freedesktop.DBus.Error.NameHasNoOwner"
    resolved._loop.remove_reader(resolved._fd)  # it hangs
    monkeypatch.setattr(system_bus, "CALL_LIMIT", 0.2)
    with pytest.raises(BusError, match="did not answer Ping within"):
        await bus.call(RESOLVED, "/", "org.freedesktop.DBus.Peer", "Ping")
    gone(resolved)


async def test_a_bus_that_is_frozen_holds_nothing_up(
    daemon: PrivateBus, bus: SystemBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_bus, "CONNECT_LIMIT", 0.3)
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    longest, last, until_when = 0.0, time.monotonic(), time.monotonic() + 1
    while time.monotonic() < until_when:
        await asyncio.sleep(0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest < 0.5
    daemon.signal(signal.SIGCONT)
    there = await service(daemon, RESOLVED)
    await until(lambda: bus.owner(RESOLVED), "the owner")
    gone(there)


@pytest.mark.parametrize("says", [b"", b"OK", b"REJECTED\r\n", b"OK 1234\r\nrubbish", b"\xff\r\n" * 100])
async def test_a_bus_that_hangs_up_or_talks_rubbish(daemon: PrivateBus, says: bytes) -> None:
    plain = socket.socket(socket.AF_UNIX)
    plain.bind(str(daemon.path))
    plain.listen()
    met = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        writer.write(says)
        writer.close()

    server = await asyncio.start_unix_server(serve, sock=plain)
    bus = SystemBus()
    task = asyncio.create_task(bus.run())
    await until(lambda: met >= 3, "three tries")
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    server.close()
