"""Real redis-servers on Unix sockets in folders of their own."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from meshd.model.position import Position
from meshd.store.database import Database
from meshd.store.server import RedisServer
from meshproto import node_pb2, state_pb2

MakeServer = Callable[..., Awaitable[RedisServer]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, for the sake of Unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="meshd-store-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def make_server(folder: Path) -> AsyncIterator[MakeServer]:
    """Starts servers by name; what a test leaves running is ended."""
    made: list[RedisServer] = []

    async def make(name: str = "a", on_exit: Callable[[str], None] = lambda reason: None) -> RedisServer:
        server = RedisServer(folder / name, folder / f"{name}.sock", on_exit=on_exit)
        made.append(server)
        await server.start()
        return server

    yield make
    for server in made:
        await server.stop()


@pytest.fixture
async def database(make_server: MakeServer) -> AsyncIterator[Database]:
    server = await make_server()
    database = Database(server.connection)
    yield database
    await database.close()


@pytest.fixture
def free_port() -> Callable[[], int]:
    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture
def entry() -> Callable[..., state_pb2.ChangeEntry]:
    """An entry with the writes given as (kind, key, value or None)."""

    def make(request_id: str, *writes: tuple[str, str, bytes | None]) -> state_pb2.ChangeEntry:
        result = node_pb2.ChangeResult(outcome=node_pb2.ChangeResult.DONE, member_id="m-1")
        message = state_pb2.ChangeEntry(
            request_id=request_id, actor="gw-berlin (ada)", action="rename", at_ms=5, result=result.SerializeToString()
        )
        for kind, key, value in writes:
            message.writes.add(kind=kind, key=key, value=value)
        return message

    return make


@pytest.fixture
def fill(entry: Callable[..., state_pb2.ChangeEntry]) -> Callable[..., Awaitable[Position]]:
    """Appends `count` entries in an epoch, after what is there."""

    async def fill(database: Database, count: int, epoch: int = 1) -> Position:
        position = await database.position()
        for _ in range(count):
            following = Position(epoch, position.revision + 1)
            route = state_pb2.Route(cidr=f"192.0.2.{following.revision % 256}/32")
            await database.append(
                entry(f"request-{following}", ("route", route.cidr, route.SerializeToString())), position, following
            )
            position = following
        return position

    return fill


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Waits for a condition, at most ten seconds."""

    async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
        async with asyncio.timeout(10):
            while True:
                answer = condition()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(0.01)

    return until
