"""What a node does: keeps a replica in Redis, serves members and joiners, and is the primary or follows it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from meshproto import PROTOCOL_VERSION, join_pb2, local_pb2, node_pb2, state_pb2

from meshd import defaults
from meshd.assembly.mesh import Mesh, with_members
from meshd.assembly.node_calls import NodeCalls
from meshd.assembly.node_dns import NodeDns
from meshd.cluster.admission import Challenges, check_proof
from meshd.cluster.authority import CertificateAuthority
from meshd.cluster.certificates import check_await_signature
from meshd.cluster.channels import MemberChannels
from meshd.cluster.heartbeats import Heartbeats
from meshd.cluster.primary import Primary
from meshd.cluster.replica import Replica
from meshd.model.errors import Conflict, MeshError, NotFound, OutcomeUnknown, Unavailable, from_code
from meshd.model.members import Member, Role
from meshd.model.position import Position
from meshd.model.rights import check_right
from meshd.model.state import State, filtered_entry
from meshd.rpc.join_server import JoinServer, Source
from meshd.rpc.mesh_server import MeshServer
from meshd.store.database import Database
from meshd.store.durability import Confirmer
from meshd.store.errors import StoreFailed
from meshd.store.external import ExternalServer
from meshd.store.follower import Follower, Snapshot
from meshd.store.replication import Replication
from meshd.store.server import RedisServer, StoreServer, socket_path

log = logging.getLogger(__name__)

WATCH_PAUSE = 2.0
"""Seconds between updates of what grows or wobbles, for members that watch. Who is online and where is told at once."""

SHARE_PAUSE = 0.2
"""Seconds between the primary's looks at who is online; longer where there are so many members that one takes long."""

RECENT = 1000
"""Committed entries kept for watchers; who needs older ones gets a snapshot."""

FIRST_COMMIT = 3.0
"""Seconds that a new term's first entry may take before the start goes on without it."""


def raise_refusal(result: node_pb2.ChangeResult) -> node_pb2.ChangeResult:
    """The result itself when it was done. Raises what it was refused with, or OutcomeUnknown."""
    if result.outcome == node_pb2.ChangeResult.DONE:
        return result
    if result.outcome == node_pb2.ChangeResult.UNKNOWN:
        raise OutcomeUnknown(result.message, result.fix)
    raise from_code(result.code or "failed", result.message or "the change was refused", result.fix)


class NodeDuties:
    """Implements `Duties`, `MeshApi` and `JoinApi` for one mesh."""

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
        self._challenges = Challenges(os.urandom)
        self._tasks: list[asyncio.Task[None]] = []
        self._recent: list[tuple[Position, state_pb2.ChangeEntry]] = []
        self._heartbeat_at = 0.0
        self._primary_writable = False
        self._redis_port = 0
        self._closing = False
        self._primary: Primary | None = None
        self._first_done = asyncio.Event()
        self._dns = NodeDns(mesh) if mesh.machine.dns else None

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        mesh, identity = self._mesh, self._mesh.identity
        await self._server.start()
        self._database = Database(self._server.connection)
        self._confirmer = Confirmer(self._database, mesh.folder / "promise.json")
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
        self._replica = Replica(
            me.id,
            lambda: mesh.state.primary_id,
            self._confirmer,
            self._replication,
            self._database.position,
            lambda: mesh.applied,
            mesh.sessions.own_presence,
            self._on_heartbeat,
        )
        self._mesh_server = MeshServer(identity, self, lambda: mesh.state_with_provisional())
        await self._mesh_server.start(own, defaults.MESH_PORT)
        self._join_server = JoinServer(identity, self)
        if mesh.choices.join_port:
            everywhere: list[Source] = [IPv6Address("::")] if mesh.ipv6 else [IPv4Address("0.0.0.0")]
            await self._join_server.start(everywhere, mesh.choices.join_port)
        else:
            await self._join_server.start(own, defaults.JOIN_PORT)
        self._tasks.append(asyncio.create_task(self._follow(), name=f"{mesh.name}: follow"))
        if self._dns is not None:
            self._tasks.append(asyncio.create_task(self._dns.run(me), name=f"{mesh.name}: dns"))
        if mesh.state.primary_id == me.id:
            self._tasks.append(asyncio.create_task(self._lead(me), name=f"{mesh.name}: primary"))
        mesh.wake()

    async def stop(self, keep: bool = True) -> None:
        self._closing = True
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

    async def erase(self) -> None:
        """After `stop`: takes the data away, too."""
        await self._server.start()
        await self._server.erase()

    def _redis_ended(self, reason: str) -> None:
        self._mesh.event("store", f"redis ended: {reason}; it is started again", severity="error")

    @property
    def redis_port(self) -> int:
        return self._redis_port

    @property
    def writable(self) -> bool:
        if self._primary is not None:
            return self._primary.writable
        return self._primary_writable and time.monotonic() - self._heartbeat_at < 2.0

    def checks(self) -> list[local_pb2.Check]:
        return self._dns.checks() if self._dns is not None else []

    # --- following --------------------------------------------------------------------------------------------------

    def _on_heartbeat(self, request: node_pb2.HeartbeatRequest) -> None:
        mesh = self._mesh
        self._heartbeat_at = time.monotonic()
        self._primary_writable = True
        committed = Position.from_message(request.committed)
        mesh.committed = max(mesh.committed, committed)
        self._follower.advance(committed)
        # Not every heartbeat carries presence; one that does names at least the primary.
        mesh.take_presence(request.presence or mesh.presence.values(), request.nodes)

    async def _follow(self) -> None:
        """Every committed change of our Redis goes to the mesh, in order."""
        mesh = self._mesh
        while True:
            try:
                async for update in self._follower:
                    if isinstance(update, Snapshot):
                        mesh.set_state(State.from_view(update.view))
                        self._recent.clear()
                        continue
                    state = mesh.state
                    for position, entry in update.entries:
                        if position > state.position:
                            state = state.with_entry(entry, position)
                    self._recent = [*self._recent, *update.entries][-RECENT:]
                    mesh.set_state(state, update.entries)
            except StoreFailed as error:
                log.error("%s: the replica can't be read: %s", mesh.name, error)
                mesh.event("store", f"the replica can't be read: {error}", severity="error")
                await asyncio.sleep(1)

    # --- leading ----------------------------------------------------------------------------------------------------

    async def _lead(self, me: Member) -> None:
        """One term: a new epoch, its first entry, then heartbeats and upkeep until the helper stops."""
        mesh, identity = self._mesh, self._mesh.identity
        assert identity.cluster_secret is not None
        head = State.from_view(await self._database.load())
        epoch = max(self._confirmer.promised_epoch, head.position.epoch) + 1
        await self._confirmer.promise(epoch)
        await self._replication.detach()
        authority = CertificateAuthority.open(head.settings, identity.cluster_secret)
        credentials: list[tuple[str, str]] = []

        def request() -> node_pb2.HeartbeatRequest:
            message = node_pb2.HeartbeatRequest(
                mesh_id=mesh.choices.mesh_id,
                primary_id=me.id,
                epoch=epoch,
                redis_host=str(me.ipv4),
                redis_port=self._redis_port,
                presence=mesh.presence.values(),
                nodes=heartbeats.health(),
            )
            if credentials:
                message.redis_user, message.redis_password = credentials[0]
            return message

        heartbeats = Heartbeats(
            me.id,
            lambda: {node.id: node for node in mesh.members.values() if node.role is Role.NODE},
            self._calls,
            request,
            mesh.sessions.own_presence,
        )
        primary = Primary(
            me.id,
            head,
            epoch,
            self._database,
            self._confirmer,
            self._calls,
            heartbeats,
            authority,
            os.urandom,
            self._on_committed,
        )
        self._heartbeats = heartbeats
        async with asyncio.TaskGroup() as tasks:
            await primary.write_first()
            offered = await self._replication.offer(epoch)
            credentials.append((offered.user, offered.password))
            tasks.create_task(heartbeats.run())
            if not await primary.commit_first(FIRST_COMMIT):
                log.warning("%s: waiting for a majority of the nodes that vote", mesh.name)
            self._primary = primary
            self._first_done.set()
            tasks.create_task(primary.upkeep())
            tasks.create_task(self._share_presence(heartbeats))

    async def _on_committed(self, position: Position) -> None:
        self._mesh.committed = position
        self._follower.advance(position)

    async def _share_presence(self, heartbeats: Heartbeats) -> None:
        while True:
            began = time.monotonic()
            self._mesh.take_presence(heartbeats.presence(), heartbeats.health())
            await asyncio.sleep(max(SHARE_PAUSE, 20 * (time.monotonic() - began)))

    async def submit(self, change: node_pb2.Change, timeout: float) -> node_pb2.ChangeResult:
        """Carries the change out here, or has the primary do it."""
        mesh = self._mesh
        if mesh.state.primary_id == mesh.choices.member_id:
            try:
                async with asyncio.timeout(timeout):
                    await self._first_done.wait()
            except TimeoutError:
                pass
            if self._primary is None:
                return _refused(Unavailable("the primary is still starting", "try again in a moment"))
            result = await self._primary.submit(change, timeout)
            if result.outcome == node_pb2.ChangeResult.DONE:
                await self._see_applied(change, result, timeout)
            return result
        primary = mesh.members.get(mesh.state.primary_id)
        if primary is None:
            return _refused(Unavailable("the primary of the mesh is not known", "try again when a node is reachable"))
        request = node_pb2.SubmitRequest(
            mesh_id=mesh.choices.mesh_id, change=change, hops=1, timeout_ms=int(timeout * 1000)
        )
        return await self._calls.submit(primary, request, timeout)

    async def _see_applied(self, change: node_pb2.Change, result: node_pb2.ChangeResult, timeout: float) -> None:
        """An invite counts only with nodes that let its key in: waits for them and names them."""
        position = Position.from_message(result.position)
        await self._mesh.wait_applied(position, min(timeout, 3.0))
        if change.WhichOneof("what") != "create_invite":
            return
        deadline = time.monotonic() + min(timeout, 3.0)
        answering = self._heartbeats.answering()
        while time.monotonic() < deadline and not answering <= self._heartbeats.applied(position):
            await self._heartbeats.next_answer(deadline - time.monotonic())
        result.applied_node_ids.extend([self._mesh.choices.member_id, *sorted(self._heartbeats.applied(position))])

    # --- MeshApi ----------------------------------------------------------------------------------------------------

    async def heartbeat(self, member: Member, request: node_pb2.HeartbeatRequest) -> node_pb2.HeartbeatReply:
        return await self._replica.heartbeat(member.id, request)

    async def confirm(self, member: Member, request: node_pb2.ConfirmRequest) -> node_pb2.ConfirmReply:
        return await self._replica.confirm(member.id, request)

    async def submit_for(self, member: Member, request: node_pb2.SubmitRequest) -> node_pb2.SubmitReply:
        try:
            check_right(member, request.change, self._mesh.name)
        except MeshError as error:
            log.warning("%s may not %s", member.name, request.change.WhichOneof("what"))
            return node_pb2.SubmitReply(result=_refused(error))
        if request.hops > 0 and self._mesh.state.primary_id != self._mesh.choices.member_id:
            return node_pb2.SubmitReply(
                result=_refused(Unavailable(f"{self._mesh.name} has another primary by now", "try again"))
            )
        timeout = min(request.timeout_ms / 1000 or defaults.COMMIT_TIMEOUT, 30.0)
        if request.change.WhichOneof("what") == "remove_member" and request.change.remove_member.id == member.id:
            self._mesh.say_goodbye(member.id)
        return node_pb2.SubmitReply(result=await self.submit(request.change, timeout))

    async def report(self, member: Member, request: node_pb2.MemberReport) -> node_pb2.ReportReply:
        device = self._mesh.sessions.device
        peer = device.peers.get(member.public_key) if device else None
        return node_pb2.ReportReply(observed_endpoint=str(peer.endpoint) if peer and peer.endpoint else "")

    async def watch_view(
        self, member: Member, request: node_pb2.WatchViewRequest
    ) -> AsyncIterator[node_pb2.ViewUpdate]:
        mesh = self._mesh
        sent: Position | None = None
        presence: dict[str, node_pb2.Presence] = {}
        version = -1
        while not self._closing:
            if member.id not in mesh.members:
                raise NotFound(f"{member.name} was removed from {mesh.name}")
            update = node_pb2.ViewUpdate(
                committed=mesh.committed.message,
                primary_id=mesh.state.primary_id,
                writable=self.writable,
                nodes=mesh.node_health.values(),
            )
            position = mesh.state.position
            if sent != position:
                fresh = self._since(sent, member.id)
                if fresh is None:
                    update.snapshot.CopyFrom(mesh.state.for_peer(member.id))
                else:
                    update.entries.extend(fresh)
                update.committed.CopyFrom(position.message)
                sent = position
            news = [seen for key, seen in mesh.presence.items() if presence.get(key) is not seen]
            news += [node_pb2.Presence(member_id=key) for key in presence.keys() - mesh.presence.keys()]
            presence, reach_changes = dict(mesh.presence), mesh.reach_changes
            update.presence.extend(news)
            yield update
            deadline = time.monotonic() + WATCH_PAUSE
            while (
                not self._closing
                and mesh.state.position == sent
                and mesh.reach_changes == reach_changes
                and time.monotonic() < deadline
            ):
                version = await mesh.wait_changed(version, deadline - time.monotonic())

    def _since(self, sent: Position | None, member_id: str) -> list[state_pb2.ChangeEntry] | None:
        """The entries after `sent` as a peer may see them; None when it needs a snapshot. Their positions follow on
        one another, so they are not sent."""
        present = self._mesh.state.position
        fresh = [(at, entry) for at, entry in self._recent if sent is not None and sent < at <= present]
        if sent is None or not fresh or fresh[0][0].revision != sent.revision + 1 or fresh[0][0].epoch != sent.epoch:
            return None
        if any(at.epoch != present.epoch for at, _ in fresh) or fresh[-1][0] != present:
            return None
        about_itself = any(write.kind == "member" and write.key == member_id for _, e in fresh for write in e.writes)
        return None if about_itself else [filtered_entry(entry) for _, entry in fresh]

    # --- JoinApi ----------------------------------------------------------------------------------------------------

    def is_inside(self, source: Source) -> bool:
        return self._mesh.is_inside(source)

    async def authority(self) -> join_pb2.AuthorityReply:
        return join_pb2.AuthorityReply(
            ca_certificate=self._mesh.identity.ca_certificate,
            mesh_name=self._mesh.name,
            protocol_version=PROTOCOL_VERSION,
        )

    async def challenge(self) -> join_pb2.ChallengeReply:
        return join_pb2.ChallengeReply(nonce=self._challenges.give(), now_ms=int(time.time() * 1000))

    async def join_as_node(self, source: Source, request: join_pb2.JoinAsNodeRequest) -> join_pb2.Admission:
        identity = self._mesh.identity
        self._challenges.take(request.nonce)
        assert identity.cluster_secret is not None
        check_proof(
            request.proof,
            identity.cluster_secret,
            request.nonce,
            identity.ca_certificate,
            identity.certificate,
            request.applicant.public_key,
            request.applicant.certificate_request,
        )
        change = node_pb2.Change(
            request_id=request.request_id,
            actor=f"{source} with the cluster key",
            admit_node=node_pb2.AdmitNode(applicant=request.applicant),
        )
        return await self._admit(change, Role.NODE)

    async def redeem_invite(self, source: Source, request: join_pb2.RedeemInviteRequest) -> join_pb2.Admission:
        change = node_pb2.Change(
            request_id=request.request_id,
            actor=f"invite {request.invite_id}",
            redeem_invite=node_pb2.RedeemInvite(
                invite_id=request.invite_id, token=request.token, applicant=request.applicant
            ),
        )
        return await self._admit(change, Role.PEER)

    async def _admit(self, change: node_pb2.Change, role: Role) -> join_pb2.Admission:
        """Has the primary let the applicant in, and lets its key into our data plane before it is told."""
        mesh = self._mesh
        result = raise_refusal(await self.submit(change, 10.0))
        mesh.add_provisional(result.member)
        await mesh.reconcile()
        member = mesh.members.get(result.member_id)
        if member is None:
            raise Conflict("the new member was removed again at once")
        view = mesh.state.to_view() if member.role is Role.NODE else mesh.state.for_peer(member.id)
        admission = join_pb2.Admission(
            member_id=member.id,
            certificate=result.member.certificate,
            view=with_members(view, result.member),
            node_id=mesh.choices.member_id,
        )
        if member.role is Role.NODE and role is Role.PEER:
            admission.cluster_secret = mesh.identity.cluster_secret or b""
        return admission

    async def request_access(
        self, source: Source, request: join_pb2.RequestAccessRequest
    ) -> join_pb2.RequestAccessReply:
        # The same key gets the same id: a machine that asks again finds its request.
        request_id = hashlib.sha256(request.applicant.public_key).hexdigest()[:10]
        change = node_pb2.Change(
            request_id=str(uuid.uuid4()),
            actor=str(source),
            add_request=node_pb2.AddRequest(id=request_id, applicant=request.applicant, source=str(source)),
        )
        raise_refusal(await self.submit(change, 10.0))
        return join_pb2.RequestAccessReply(id=request_id)

    async def await_access(self, source: Source, request: join_pb2.AwaitAccessRequest) -> join_pb2.AwaitAccessReply:
        mesh = self._mesh
        deadline = time.monotonic() + min(request.wait_ms / 1000, 30.0)
        version = -1
        while not self._closing:
            asked = mesh.state.requests.get(request.id)
            if asked is not None:
                check_await_signature(asked.certificate_request, request.id, request.signature)
                if asked.refused:
                    return join_pb2.AwaitAccessReply(refused=True)
                member = mesh.state.members.get(asked.authorized_member_id)
                if member is not None:
                    await mesh.wait_applied(mesh.state.position, 3.0)
                    return join_pb2.AwaitAccessReply(
                        admission=join_pb2.Admission(
                            member_id=member.id,
                            certificate=member.certificate,
                            view=mesh.state.for_peer(member.id),
                            node_id=mesh.choices.member_id,
                        )
                    )
            if time.monotonic() >= deadline:
                break
            version = await mesh.wait_changed(version, deadline - time.monotonic())
        return join_pb2.AwaitAccessReply(pending=True)


def _refused(error: MeshError) -> node_pb2.ChangeResult:
    return node_pb2.ChangeResult(
        outcome=node_pb2.ChangeResult.REFUSED, code=error.code, message=error.message, fix=error.fix
    )
