"""The joiner's first connection, against a real join server."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Any

import pytest
from meshd.cluster.authority import CertificateAuthority
from meshd.cluster.certificates import fingerprint, new_private_key, signing_request
from meshd.cluster.identity import Choices, Identity, Keys
from meshd.cluster.join_connection import connect
from meshd.model.errors import NotPermitted, Unavailable
from meshd.model.members import Role
from meshd.rpc.join_server import JoinServer
from meshproto import PROTOCOL_VERSION, join_pb2
from meshproto.keys import PrivateKey

LOOPBACK = IPv4Address("127.0.0.1")
MESH_ID = str(uuid.UUID(int=9))


class Api:
    def __init__(self, authority: CertificateAuthority) -> None:
        self._authority = authority

    def is_inside(self, source: Any) -> bool:
        return False

    async def authority(self) -> join_pb2.AuthorityReply:
        return join_pb2.AuthorityReply(
            ca_certificate=self._authority.certificate, mesh_name="home", protocol_version=PROTOCOL_VERSION
        )

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nothing else is asked: {name}")


@pytest.fixture
async def served() -> AsyncIterator[tuple[int, str]]:
    """(port, the CA's fingerprint)"""
    authority = CertificateAuthority.create(MESH_ID, "home")
    key, member_id = new_private_key(), str(uuid.uuid4())
    certificate = authority.certify(signing_request(key, "gw-berlin"), member_id, Role.NODE)
    choices = Choices("home", MESH_ID, member_id, Role.NODE, "home", 10100)
    identity = Identity(choices, Keys(PrivateKey(bytes(32)), key), certificate, authority.certificate)
    with socket.socket() as found:
        found.bind((str(LOOPBACK), 0))
        port = found.getsockname()[1]
    server = JoinServer(identity, Api(authority))  # type: ignore[arg-type]  # all that is called
    await server.start([LOOPBACK], port)
    yield port, fingerprint(authority.certificate)
    await server.stop()


@asynccontextmanager
async def far_away(port: int, delay: float) -> AsyncIterator[int]:
    """A port that leads to `port`; bytes take `delay` seconds each way."""
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                await asyncio.sleep(delay)
                writer.write(data)
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(str(LOOPBACK), port)
        tasks.update({asyncio.create_task(copy(reader, back)), asyncio.create_task(copy(there, writer))})

    server = await asyncio.start_server(accept, str(LOOPBACK), 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_node_at_the_end_of_a_slow_link(served: tuple[int, str]) -> None:
    port, expected = served
    async with far_away(port, 0.2) as slow:
        connection = await connect(LOOPBACK, slow, expected, 10)
        assert (connection.mesh_name, connection.mesh_id) == ("home", MESH_ID)
        await connection.close()


async def test_another_meshs_node_is_refused_by_its_fingerprint(served: tuple[int, str]) -> None:
    port, expected = served
    with pytest.raises(NotPermitted, match="another mesh") as caught:
        await connect(LOOPBACK, port, expected[::-1], 10)
    assert caught.value.code == "wrong-fingerprint"


async def test_who_does_not_answer_is_unavailable(served: tuple[int, str]) -> None:
    port, expected = served
    async with far_away(port, 60) as dead:
        with pytest.raises(Unavailable, match="no answer"):
            await connect(LOOPBACK, dead, expected, 0.5)


async def test_a_port_where_nothing_listens_is_named_with_the_systems_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port} can't be reached: Connection refused"):
        await connect(LOOPBACK, port, None, 5.0)
