"""A cluster of three nodes with real redis-servers on loopback; only the calls between them are made directly."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from meshd.cluster.authority import CertificateAuthority
from meshd.cluster.certificates import new_private_key, signing_request
from meshd.cluster.election.state import Timing
from meshd.cluster.elector import Elector
from meshd.cluster.leadership import Leadership, Seat
from meshd.cluster.replica import Replica
from meshd.cluster.rewriting import Rewriting
from meshd.model.addresses import make_pools
from meshd.model.changes import Context, create_mesh, decide
from meshd.model.errors import MeshError
from meshd.model.members import Member
from meshd.model.position import Position
from meshd.model.state import State
from meshd.store.database import Database
from meshd.store.replication import Replication
from meshd.store.server import RedisServer
from meshproto import node_pb2, state_pb2

MESH_ID = str(uuid.UUID(int=7))
SECRET = bytes(20)
LOOPBACK = IPv4Address("127.0.0.1")


def open_authority(state: State) -> CertificateAuthority:
    return CertificateAuthority.open(state.settings, SECRET)


class Node:
    """Helper and Redis of one node. `start` and `stop` are the helper's."""

    def __init__(self, cluster: Cluster, member_id: str, folder: Path) -> None:
        self.cluster, self.id, self.folder = cluster, member_id, folder
        folder.mkdir()
        self.server = RedisServer(folder / "redis", folder / "redis.sock", on_exit=self._ended)
        self.elector: Elector | None = None
        self.task: asyncio.Task[None] | None = None
        self.committed = Position()
        self.reports: list[str] = []

    def _ended(self, reason: str) -> None:
        if self.elector is not None:
            self.elector.redis_ended(reason)

    async def start(self) -> None:
        await self.server.start()
        with socket.socket() as probe:
            probe.bind((str(LOOPBACK), 0))
            port = int(probe.getsockname()[1])
        await self.server.open_tcp([LOOPBACK], port)
        self.database = Database(self.server.connection)
        self.replication = Replication(self.server.connection)
        self.rewriting = Rewriting(self.server)
        self.replica = Replica(
            self.replication,
            lambda: self.committed,
            list,
            self._on_heartbeat,
            self.rewriting,
            lambda: self.server.copy_format,
        )
        self.leadership = Leadership(
            Seat(
                MESH_ID, self.id, str(LOOPBACK), port, lambda state: CertificateAuthority.open(state.settings, SECRET)
            ),
            self.server,
            self.database,
            self.replication,
            self.replica,
            Calls(self.cluster, self.id),
            lambda: self.cluster.members,
            list,
            list,
            self._on_committed,
            self.reports.append,
        )
        self.elector = Elector(
            self.id,
            self.server,
            self.database,
            self.replication,
            self.folder / "promise.json",
            self.leadership,
            lambda: frozenset(self.cluster.members),
            lambda: self.cluster.timing,
        )
        self.leadership.elector = self.elector
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        assert self.elector is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.elector.run())
            tasks.create_task(self.rewriting.run(self.leadership.may_rewrite))

    def _on_heartbeat(self, request: node_pb2.HeartbeatRequest) -> None:
        self._on_committed(Position.from_message(request.committed))

    def _on_committed(self, position: Position) -> None:
        self.committed = max(self.committed, position)

    async def stop(self) -> None:
        """As SIGKILL of the helper: Redis goes on as it is."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            if self.leadership.primary is not None:
                await self.leadership.end(0, "killed")
            await self.database.close()
            await self.server.detach()
        self.task = self.elector = None

    async def close(self) -> None:
        await self.stop()
        await self.server.start()
        await self.server.stop()

    async def submit(self, change: node_pb2.Change, timeout: float = 5.0) -> node_pb2.ChangeResult:
        assert self.leadership.primary is not None
        return await self.leadership.primary.submit(change, timeout)


class Calls:
    """Implements `NodeCaller` without a network; `Cluster.cut` says who does not reach whom."""

    def __init__(self, cluster: Cluster, sender: str) -> None:
        self._cluster, self._sender = cluster, sender

    async def _call(self, member: Member, timeout: float, call: Callable[[Node, Elector], Awaitable[Any]]) -> Any:
        def reached() -> bool:
            return not {(self._sender, member.id), (member.id, self._sender)} & self._cluster.cut

        node = self._cluster.nodes.get(member.id)
        if node is None or node.elector is None or not reached():
            await asyncio.sleep(0.02)
            return None
        try:
            async with asyncio.timeout(timeout):
                reply = await call(node, node.elector)
        except (TimeoutError, MeshError):
            return None
        return reply if reached() else None

    async def heartbeat(self, member: Member, request: node_pb2.HeartbeatRequest, timeout: float) -> Any:
        return await self._call(member, timeout, lambda node, it: node.replica.heartbeat(it, self._sender, request))

    async def confirm(self, member: Member, request: node_pb2.ConfirmRequest, timeout: float) -> Any:
        return await self._call(member, timeout, lambda node, it: node.replica.confirm(it, self._sender, request))

    async def vote(self, member: Member, request: node_pb2.VoteRequest, timeout: float) -> Any:
        return await self._call(member, timeout, lambda node, it: node.replica.vote(it, self._sender, request))

    async def take_over(self, member: Member, request: node_pb2.TakeOverRequest, timeout: float) -> None:
        await self._call(member, timeout, lambda node, it: node.replica.take_over(it, self._sender, request))


class Cluster:
    """`nodes` by id, oldest first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = CertificateAuthority.create(MESH_ID, "home")
        self.state = State()
        self.members: dict[str, Member] = {}
        self.nodes: dict[str, Node] = {}
        self.cut: set[tuple[str, str]] = set()
        self.timing = Timing()
        self.count = 0

    def applicant(self, name: str) -> node_pb2.Applicant:
        return node_pb2.Applicant(
            name=name,
            public_key=hashlib.sha256(name.encode()).digest(),
            certificate_request=signing_request(new_private_key(), name),
            listen_port=10100,
        )

    def context(self) -> Context:
        return Context(1_800_000_000_000 + len(self.state.members), os.urandom, self.authority)

    async def create(self, count: int) -> None:
        pools = make_pools(MESH_ID, "", 0, "", "", "")
        sealed = self.authority.encrypted_key(SECRET)
        certificate = self.authority.certificate
        applicant = self.applicant("gw-0")
        first = create_mesh(
            "home", MESH_ID, pools, "", 0, certificate, sealed, applicant, self.context(), str(uuid.uuid4())
        )
        entries = [first]
        self.state = State().with_entry(first, Position(1, 1))
        for number in range(1, count):
            admit = node_pb2.AdmitNode(applicant=self.applicant(f"gw-{number}"))
            change = node_pb2.Change(request_id=str(uuid.uuid4()), admit_node=admit)
            entry = decide(self.state, change, self.context())
            assert entry is not None
            entries.append(entry)
            self.state = self.state.with_entry(entry, Position(1, number + 1))
        self.members = dict(self.state.parsed)
        for number, member in enumerate(self.state.nodes):
            self.nodes[member.id] = Node(self, member.id, self.folder / str(number))
        oldest = next(iter(self.nodes.values()))
        await oldest.server.start()
        database = Database(oldest.server.connection)
        for number, entry in enumerate(entries):
            await database.append(entry, Position(1, number) if number else Position(), Position(1, number + 1))
        await database.close()
        await oldest.server.detach()
        for node in self.nodes.values():
            await node.start()

    async def until(self, condition: Callable[[], Any], limit: float = 60.0) -> Any:
        async with asyncio.timeout(limit):
            while True:
                value = condition()
                if value:
                    return value
                await asyncio.sleep(0.01)

    async def has(self, node: Node, cidr: str) -> None:
        """Waits for a change to arrive in a node's Redis."""
        async with asyncio.timeout(60):
            position = Position()
            while cidr not in {route.cidr for route in (await node.database.load()).routes}:
                position = await node.database.wait_position(Position(position.epoch, position.revision + 1), 0.05)

    async def primary(self, *without: Node) -> Node:
        """The node that leads and takes changes."""
        found = await self.until(
            lambda: [
                node
                for node in self.nodes.values()
                if node not in without and node.elector is not None and node.elector.writable()
            ]
        )
        assert len(found) == 1
        node: Node = found[0]
        return node

    async def all_vote(self) -> Node:
        node = await self.primary()
        wanted = list(self.nodes)
        await self.until(
            lambda: (
                node.leadership.primary is not None
                and node.leadership.primary.head.voters == state_pb2.VoterRecord(current=wanted)
                and node.elector is not None
                and node.elector.writable()
            )
        )
        return node

    def change(self) -> node_pb2.Change:
        self.count += 1
        owner = next(iter(self.nodes))
        route = node_pb2.AddRoute(cidr=f"203.0.113.{self.count}/32", node_id=owner)
        return node_pb2.Change(request_id=str(uuid.uuid4()), add_route=route)

    async def close(self) -> None:
        for node in self.nodes.values():
            await node.close()


@pytest.fixture
def cluster_of() -> type[Cluster]:
    """For tests that want another number of nodes."""
    return Cluster


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="meshd-cluster-"))
    made = Cluster(folder)
    try:
        await made.create(3)
        yield made
    finally:
        await made.close()
        shutil.rmtree(folder, ignore_errors=True)
