"""A real redis-server that gets a copy it can't read: it is empty then, and its file on disk is not."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly import lost_data
from meshd.assembly.lost_data import LostData
from meshd.model.position import Position
from meshd.store.database import Database
from meshd.store.durability import look
from meshd.store.replication import Credentials, Replication
from meshd.store.server import RedisServer
from meshproto import state_pb2

AT = Position(1, 1)


class NewerPrimary:
    """Answers a replica as Redis does (PSYNC in replication.c), with a file that says it is of RDB version 99."""

    def __init__(self) -> None:
        self.copies = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
            while True:
                count = int((await reader.readline())[1:])
                words = []
                for _ in range(count):
                    length = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(length + 2))[:-2])
                if words[0].upper() == b"PSYNC":
                    copy = b"REDIS0099\xff" + bytes(8)
                    writer.write(b"+FULLRESYNC %s 1\r\n$%d\r\n%s" % (b"a" * 40, len(copy), copy))
                    self.copies += 1
                else:
                    writer.write(b"+PONG\r\n" if words[0].upper() == b"PING" else b"+OK\r\n")
                await writer.drain()
        writer.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="meshd-lost-"))
    yield path
    shutil.rmtree(path)


class Emptied:
    """One node's Redis, with one change in it, and what its helper makes of it."""

    def __init__(self, folder: Path) -> None:
        self.server = RedisServer(folder / "redis", folder / "r.sock", on_exit=lambda reason: None)
        self.events: list[str] = []
        self.leads = ""
        self.elector: Any = SimpleNamespace(
            state=SimpleNamespace(loaded=False, position=Position(), promise=SimpleNamespace(floor=AT)),
            primary=lambda: self.leads,
        )
        mesh: Any = SimpleNamespace(
            name="home", me=SimpleNamespace(name="gw-a"), event=lambda kind, text, **_: self.events.append(text)
        )
        self.lost = LostData(mesh, self.elector, self.server)

    async def begin(self) -> None:
        await self.server.start()
        self.database = Database(self.server.connection)
        entry = state_pb2.ChangeEntry(request_id="1", writes=[state_pb2.Write(kind="route", key="a", value=b"")])
        await self.database.append(entry, Position(), AT)

    async def look(self) -> None:
        """As the elector does."""
        sight = await look(self.database)
        self.elector.state.loaded, self.elector.state.position = True, sight.position
        self.elector.store_state = sight.state
        self.elector.lost = AT if sight.position < AT else None
        await self.lost.look()

    async def empty(self) -> None:
        primary = NewerPrimary()
        listening = await asyncio.start_server(primary.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        replication = Replication(self.server.connection)
        await replication.follow(IPv4Address("127.0.0.1"), port, Credentials("repl-1", "x"))
        async with asyncio.timeout(20):
            while True:
                if await self.database.position() == Position():
                    break
                await asyncio.sleep(0.02)
        await replication.park()
        listening.close()
        assert primary.copies

    async def until_there(self, run: str) -> None:
        async with asyncio.timeout(10):
            while True:
                if self.server.run_id not in ("", run):
                    break
                await asyncio.sleep(0.02)


@pytest.fixture
async def node(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emptied]:
    monkeypatch.setattr(lost_data, "PATIENCE", 0.0)
    node = Emptied(folder)
    await node.begin()
    yield node
    await node.database.close()
    await node.server.stop()


async def test_it_is_started_again_before_a_restore_is_spoken_of(node: Emptied) -> None:
    await node.look()
    await node.empty()
    run = node.server.run_id
    await node.look()
    assert node.lost.problem == ""
    assert node.events == [
        "redis here came up empty from a copy that it could not load; it is started again from its file"
    ]
    await node.until_there(run)
    assert await node.database.position() == AT
    run = node.server.run_id
    await node.look()
    assert (node.server.run_id, len(node.events), node.lost.problem) == (run, 1, "")


async def test_a_helper_that_adopts_it_does_not_write_its_file_anew(node: Emptied, folder: Path) -> None:
    """An earlier release had it emptied; this one comes, and finds it so."""
    await node.empty()
    await node.database.close()
    await node.server.detach()
    await node.server.start()
    assert node.server.adopted
    node.database = Database(node.server.connection)
    assert await node.database.position() == Position()
    run = node.server.run_id
    await node.look()
    await node.until_there(run)
    assert await node.database.position() == AT


async def test_with_a_primary_to_copy_from_it_is_left_alone(node: Emptied) -> None:
    await node.empty()
    run, node.leads = node.server.run_id, "gw-b"
    await node.look()
    assert (node.server.run_id, node.events) == (run, [])
    node.lost._copying_stopped = lambda: True  # whose copies it does not read either
    await node.look()
    await node.until_there(run)
    assert await node.database.position() == AT


async def test_one_whose_file_is_gone_too_is_spoken_of(node: Emptied, folder: Path) -> None:
    await node.empty()
    shutil.rmtree(folder / "redis" / "appendonlydir")
    run = node.server.run_id
    await node.look()
    await node.until_there(run)
    run = node.server.run_id
    await node.look()
    assert "redis here has lost changes that this node had confirmed: revision 1" in node.lost.problem
    assert "meshctl restore FILE" in node.events[-1]
    await node.look()
    assert (node.server.run_id, len(node.events)) == (run, 2), "once is enough"
