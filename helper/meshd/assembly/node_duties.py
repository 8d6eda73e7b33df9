"""What a node does: keeps a replica in Redis, serves members and joiners, and is the primary or follows it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from meshproto import PROTOCOL_VERSION, local_pb2, node_pb2

from meshd import defaults
from meshd.assembly.copies import Copies
from meshd.assembly.forwarding import Forwarding, refused
from meshd.assembly.grown_file import GrownFile
from meshd.assembly.join_service import JoinService
from meshd.assembly.lost_data import LostData
from meshd.assembly.mesh import Mesh
from meshd.assembly.node_calls import NodeCalls
from meshd.assembly.node_dns import NodeDns
from meshd.assembly.refusals import Refusals
from meshd.assembly.slow_links import SlowLinks
from meshd.assembly.watching import Watching
from meshd.assembly.write_limits import WriteLimits
from meshd.cluster.channels import MemberChannels
from meshd.cluster.election.state import timing_of
from meshd.cluster.elector import Elector
from meshd.cluster.leadership import Leadership, Seat
from meshd.cluster.replica import Replica
from meshd.cluster.rewriting import Rewriting
from meshd.model.errors import MeshError, NotPermitted, Unavailable
from meshd.model.members import Member, Role
from meshd.model.position import Position
from meshd.model.requests import ID_IN_USE, as_asked_by
from meshd.model.rights import check_right
from meshd.model.state import State
from meshd.rpc.join_server import JoinServer, Source
from meshd.rpc.mesh_server import MeshServer
from meshd.store.database import Database
from meshd.store.errors import StoreFailed
from meshd.store.external import ExternalServer
from meshd.store.follower import Follower, Snapshot
from meshd.store.replication import Replication
from meshd.store.server import RedisServer, StoreServer, socket_path

log = logging.getLogger(__name__)

SHARE_PAUSE = 0.2
"""Seconds between the primary's looks at who is online; longer where there are so many members that one takes long."""

LONGEST_PAUSE = 5.0
"""Seconds: a look that took long because this machine stood still is none that makes the next ones dear."""


class NodeDuties:
    """Implements `Duties` and `MeshApi` for one mesh."""

    def __init__(self, mesh: Mesh, run_dir: Path, redis_url: str) -> None:
        self._mesh = mesh
        choices = mesh.choices
        if redis_url:
            self._server: StoreServer = ExternalServer(
                redis_url, mesh_id=choices.mesh_id, member_id=choices.member_id, on_exit=self._redis_ended
            )
        else:
            self._server = RedisServer(
                mesh.folder / "redis", socket_path(run_dir, choices.mesh), on_exit=self._redis_ended
            )
        self._limits = WriteLimits()
        self._watching = Watching(mesh, self)
        self._refusals = Refusals(partial(mesh.event, "audit", severity="warning"))
        self._tasks: list[asyncio.Task[None]] = []
        self._primary_commits = False
        self._redis_port = 0
        self.closing = False
        self._dns = NodeDns(mesh) if mesh.machine.dns else None

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        mesh, identity = self._mesh, self._mesh.identity
        await self._server.start()
        self._database = Database(self._server.connection)
        await self._database.check_format()
        self._replication = Replication(self._server.connection)
        known = mesh.state.position if mesh.state.position.revision else None
        self._follower = Follower(self._database, known)
        me = mesh.me
        if me is None:
            return
        own: list[Source] = [me.ipv4, me.ipv6] if mesh.ipv6 else [me.ipv4]
        self._redis_port = await self._server.open_tcp([me.ipv4], defaults.REDIS_PORT)
        self._channels = MemberChannels(identity, defaults.MESH_PORT, me.ipv4)
        self._calls = NodeCalls(self._channels)
        rewriting = Rewriting(self._server)
        self._replica = Replica(
            self._replication,
            lambda: mesh.applied,
            mesh.sessions.own_presence,
            self._on_heartbeat,
            rewriting,
            lambda: self._server.copy_format,
        )
        await mesh.cluster_keys.follow()
        self._leadership = Leadership(
            Seat(mesh.choices.mesh_id, me.id, str(me.ipv4), self._redis_port, mesh.cluster_keys.open_authority),
            self._server,
            self._database,
            self._replication,
            self._replica,
            self._calls,
            self._nodes,
            lambda: mesh.presence.values(),
            mesh.sessions.own_presence,
            self._on_committed,
            self._report,
        )
        self._elector = Elector(
            me.id,
            self._server,
            self._database,
            self._replication,
            mesh.folder / "promise.json",
            self._leadership,
            lambda: frozenset(self._nodes()),
            lambda: timing_of(mesh.state.settings.election_timeout_ms / 1000),
        )
        self._leadership.elector = self._elector
        self._copies = Copies(mesh, self._elector, self._replica, self._leadership)
        self._grown = GrownFile(mesh, rewriting)
        self._slow = SlowLinks(mesh, lambda: self._nodes().values(), lambda: self._elector.state.timing.timeout)
        self._lost = LostData(mesh, self._elector, self._server, lambda: self._copies.stopped)
        self._forwarding = Forwarding(mesh, self._elector, self._leadership, self._calls)
        self._mesh_server = MeshServer(identity, self, lambda: mesh.admitted.over(mesh.state))
        await self._mesh_server.start(own, defaults.MESH_PORT)
        self._join_server = JoinServer(
            identity,
            JoinService(mesh, self.submit, self.refused, lambda: self.closing, self._limits),
        )
        if mesh.choices.join_port:
            everywhere: list[Source] = [IPv6Address("::")] if mesh.ipv6 else [IPv4Address("0.0.0.0")]
            await self._join_server.start(everywhere, mesh.choices.join_port)
        else:
            await self._join_server.start(own, defaults.JOIN_PORT)
        self._tasks.append(mesh.keep_running(self._follow, "follow"))
        if self._dns is not None:
            self._tasks.append(mesh.keep_running(partial(self._dns.run, me), "dns"))
        self._tasks.append(mesh.keep_running(self._elector.run, "election"))
        self._tasks.append(mesh.keep_running(self._share_presence, "presence"))
        self._tasks.append(mesh.keep_running(partial(rewriting.run, self._leadership.may_rewrite), "rewriting"))
        mesh.wake()

    def _nodes(self) -> dict[str, Member]:
        return {one.id: one for one in self._mesh.members.values() if one.role is Role.NODE}

    async def stop(self, keep: bool = True) -> None:
        if hasattr(self, "_elector") and self._elector.writable() and self._leadership.heartbeats.answering():
            try:
                await self._forwarding.hand_over()  # so that nobody has to notice first that this node is gone
            except MeshError as error:
                log.info("%s: %s", self._mesh.name, error)
        self.closing = True
        await self._mesh.notify()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name in ("_mesh_server", "_join_server"):
            if hasattr(self, name):
                await getattr(self, name).stop()
        if hasattr(self, "_channels"):
            await self._channels.close()
        if hasattr(self, "_database"):
            await self._database.close()
        await (self._server.detach() if keep else self._server.stop())

    def heard(self) -> None:
        """Calls between nodes find out by themselves."""

    def renew(self) -> None:
        """The election counts a sleep by itself (CLOCK_BOOTTIME), and what was cut is made anew when it is used."""

    async def erase(self) -> None:
        """After `stop`: takes the data away, too."""
        await self._server.start()
        await self._server.erase()

    def _redis_ended(self, reason: str) -> None:
        self._mesh.event("store", f"redis ended: {reason}; it is started again", severity="error")
        if hasattr(self, "_elector"):
            self._elector.redis_ended(reason)

    @property
    def redis_port(self) -> int:
        return self._redis_port

    @property
    def store_state(self) -> str:
        if not hasattr(self, "_elector"):
            return ""
        other = self._mesh.sessions.other_world.problem
        return other or self._lost.problem or self._copies.problem or self._elector.store_state

    @property
    def writable(self) -> bool:
        if not hasattr(self, "_elector"):
            return False
        if self._elector.leading:
            return self._elector.writable()
        return self._primary_commits and self._elector.primary() != ""

    @property
    def primary_id(self) -> str:
        return self._elector.primary() if hasattr(self, "_elector") else ""

    def checks(self) -> list[local_pb2.Check]:
        data = []
        if hasattr(self, "_elector"):
            data = self._lost.checks() + self._copies.checks() + self._grown.checks() + self._slow.checks()
            data += self._mesh.sessions.other_world.checks()
        return data + (self._dns.checks() if self._dns is not None else [])

    # --- following --------------------------------------------------------------------------------------------------

    def _on_heartbeat(self, request: node_pb2.HeartbeatRequest) -> None:
        mesh = self._mesh
        committed = Position.from_message(request.committed)
        self._primary_commits = committed.epoch == request.epoch
        mesh.committed = max(mesh.committed, committed)
        self._follower.advance(committed)
        # Not every heartbeat carries presence; one that does names at least the primary.
        mesh.take_presence(request.presence or mesh.presence.values(), request.nodes)

    def spoke(self, member: Member, version: int) -> None:
        if self._mesh.versions.get(member.id) == version:
            return
        self._mesh.versions[member.id] = version
        if version != PROTOCOL_VERSION:
            text = f"{member.name} is refused: it speaks protocol version {version}, this node {PROTOCOL_VERSION}"
            self._mesh.event("alarm", text, subject=member.name, subject_id=member.id, severity="warning")

    def refused(self, source: str, what: str, reason: str) -> None:
        self._refusals.note(source, what, reason)

    async def _follow(self) -> None:
        """Every committed change of our Redis goes to the mesh, in order."""
        mesh = self._mesh
        while True:
            try:
                async for update in self._follower:
                    if isinstance(update, Snapshot):
                        mesh.set_state(State.from_view(update.view))
                        self._watching.replaced()
                        await mesh.cluster_keys.follow()
                        continue
                    state = mesh.state
                    for position, entry in update.entries:
                        if position > state.position:
                            state = state.with_entry(entry, position)
                    self._watching.grown(update.entries)
                    mesh.set_state(state, update.entries)
                    await mesh.cluster_keys.follow()
            except StoreFailed as error:
                log.error("%s: the replica can't be read: %s", mesh.name, error)
                mesh.event("store", f"the replica can't be read: {error}", severity="error")
                await asyncio.sleep(1)

    # --- leading ----------------------------------------------------------------------------------------------------

    def _on_committed(self, position: Position) -> None:
        self._mesh.committed = position
        self._follower.advance(position)

    def _report(self, text: str) -> None:
        self._mesh.event("store", text, severity="warning")

    @property
    def elector(self) -> Elector:
        """Raises Unavailable before the store runs."""
        if not hasattr(self, "_elector"):
            raise Unavailable(f"{self._mesh.name} is starting", "try again")
        return self._elector

    async def _share_presence(self) -> None:
        while True:
            self._copies.look()
            self._grown.look()
            self._slow.look()
            await self._lost.look()
            began = time.monotonic()
            if self._leadership.primary is not None:
                heartbeats = self._leadership.heartbeats
                self._mesh.take_presence(heartbeats.presence(), self._leadership.health())
            await asyncio.sleep(min(max(SHARE_PAUSE, 20 * (time.monotonic() - began)), LONGEST_PAUSE))

    async def submit(self, change: node_pb2.Change, timeout: float) -> node_pb2.ChangeResult:
        """Carries the change out here, or has the primary do it."""
        if not hasattr(self, "_forwarding"):
            return refused(Unavailable(f"this machine was removed from {self._mesh.name}"))
        return await self._forwarding.submit(change, timeout)

    # --- MeshApi ----------------------------------------------------------------------------------------------------

    async def heartbeat(self, member: Member, request: node_pb2.HeartbeatRequest) -> node_pb2.HeartbeatReply:
        if request.redis_host not in ("", str(member.ipv4)):
            raise NotPermitted(f"{member.name} names a redis that is not its own")
        return await self._replica.heartbeat(self._elector, member.id, request)

    async def confirm(self, member: Member, request: node_pb2.ConfirmRequest) -> node_pb2.ConfirmReply:
        return await self._replica.confirm(self._elector, member.id, request)

    async def vote(self, member: Member, request: node_pb2.VoteRequest) -> node_pb2.VoteReply:
        return await self._replica.vote(self._elector, member.id, request)

    async def take_over(self, member: Member, request: node_pb2.TakeOverRequest) -> node_pb2.TakeOverReply:
        await self._replica.take_over(self._elector, member.id, request)
        return node_pb2.TakeOverReply()

    async def submit_for(self, member: Member, request: node_pb2.SubmitRequest) -> node_pb2.SubmitReply:
        try:
            check_right(member, request.change, self._mesh.name)
            self._limits.check_change(member, request.change)
        except MeshError as error:
            log.warning("%s may not %s", member.name, request.change.WhichOneof("what"))
            self.refused(str(member.ipv4), str(request.change.WhichOneof("what")), error.message)
            return node_pb2.SubmitReply(result=refused(error))
        change = as_asked_by(member, request.change)
        timeout = min(request.timeout_ms / 1000 or defaults.COMMIT_TIMEOUT, 30.0)
        if request.change.WhichOneof("what") == "remove_member" and request.change.remove_member.id == member.id:
            self._mesh.say_goodbye(member.id)
        submit = self._forwarding.submit_here if request.hops else self._forwarding.submit
        result = await submit(change, timeout)
        if result.code == ID_IN_USE:
            self.refused(str(member.ipv4), str(change.WhichOneof("what")), result.message)
        return node_pb2.SubmitReply(result=result)

    async def report(self, member: Member, request: node_pb2.MemberReport) -> node_pb2.ReportReply:
        device = self._mesh.sessions.device
        peer = device.peers.get(member.public_key) if device else None
        return node_pb2.ReportReply(observed_endpoint=str(peer.endpoint) if peer and peer.endpoint else "")

    def watch_view(self, member: Member, request: node_pb2.WatchViewRequest) -> AsyncIterator[node_pb2.ViewUpdate]:
        return self._watching.watch(member, Position.from_message(request.resume))
