"""The calls of the local socket (local.proto): finds the mesh, does the work, answers with what is then true."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

from meshproto import VERSION, local_pb2, node_pb2, state_pb2

from meshd import defaults
from meshd.assembly.creating import create
from meshd.assembly.daemon import Daemon
from meshd.assembly.examination import examine
from meshd.assembly.forcing import force_promotion
from meshd.assembly.forwarding import raise_refusal
from meshd.assembly.invites import make_invite, show_invite
from meshd.assembly.joins import join_mesh
from meshd.assembly.machine import Duties
from meshd.assembly.mesh import Mesh
from meshd.assembly.restoring import back_up, restore
from meshd.assembly.status import member_status, mesh_state, mesh_status
from meshd.cluster.held_keys import parse_keys
from meshd.model.changes.routes import parse_route
from meshd.model.errors import InvalidInput, MeshError, NotFound, OutcomeUnknown, Unavailable
from meshd.model.members import Member, Role
from meshd.model.position import Position
from meshd.model.requests import digest
from meshd.rpc.actor import Actor, Tier

Asked = (
    local_pb2.MemberRequest
    | local_pb2.RenameMemberRequest
    | local_pb2.SetMemberFlagRequest
    | local_pb2.PeerRequest
    | local_pb2.RouteRequest
    | local_pb2.CreateInviteRequest
    | local_pb2.RevokeInviteRequest
    | local_pb2.RotateKeyRequest
    | local_pb2.ElectionTimeoutRequest
)
"""What a person asks for and may repeat: each has a `mesh` and a `request_id`."""

LOOK_INTERVAL = 0.2
"""Seconds between looks at what a watcher is told at once: a mesh's state, and its revision."""

LOOKS = 5
"""After as many, once a second, what only carries counters is told, too."""

HEARTBEAT = 2.0
"""Seconds after which a watcher is told something even if nothing changed."""

LONGEST_PAUSE_MS = 30 * 86_400_000
"""A month. What is meant to last longer is no pause."""

KEY_WAIT = 3.0
"""Seconds until a new cluster key is on this node, once it is committed."""


class LocalApi:
    """One method for each RPC of `Meshd`, named in snake case."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._examining = asyncio.Lock()  # one at a time: it reads a lot, and anybody may ask

    # --- looking ----------------------------------------------------------------------------------------------------

    def _status(self, mesh: str, actor: Actor) -> local_pb2.Status:
        meshes = [self._daemon.find(mesh)] if mesh else list(self._daemon.meshes.values())
        tier = local_pb2.TIER_OPERATE if actor.tier is Tier.OPERATE else local_pb2.TIER_OBSERVE
        return local_pb2.Status(version=VERSION, meshes=[mesh_status(one) for one in meshes], caller_tier=tier)

    async def get_status(self, request: local_pb2.GetStatusRequest, actor: Actor) -> local_pb2.Status:
        return self._status(request.mesh, actor)

    async def watch(self, request: local_pb2.WatchRequest, actor: Actor) -> AsyncIterator[local_pb2.WatchUpdate]:
        shape, sent = self._shape(), self._status(request.mesh, actor)
        journal = self._daemon.machine.journal
        sequence = max(journal.last_sequence - 200, 0)
        events = [one for one in journal.after(sequence) if request.mesh in ("", one.mesh) or not one.mesh]
        sequence = journal.last_sequence
        said_at = time.monotonic()
        update = local_pb2.WatchUpdate(snapshot=sent, events=events, at_ms=int(time.time() * 1000))
        for mesh in self._daemon.meshes.values():
            if request.mesh in ("", mesh.name):
                update.past.extend(mesh.sessions.past.messages(mesh.choices.mesh_id))
                if request.days:
                    update.days.extend(mesh.sessions.day.messages(mesh.choices.mesh_id))
        yield update
        while True:
            for _ in range(LOOKS):
                await asyncio.sleep(LOOK_INTERVAL)
                if self._shape() != shape:
                    break
            shape = self._shape()
            try:
                present = self._status(request.mesh, actor)
            except NotFound:
                present = local_pb2.Status(version=VERSION)
            update = local_pb2.WatchUpdate(
                differences=differences(sent, present),
                events=[one for one in journal.after(sequence) if request.mesh in ("", one.mesh) or not one.mesh],
                at_ms=int(time.time() * 1000),
            )
            sequence = journal.last_sequence
            sent = present
            if update.differences or update.events or time.monotonic() - said_at >= HEARTBEAT:
                said_at = time.monotonic()
                yield update

    def _shape(self) -> list[tuple[str, local_pb2.MeshState.ValueType, Position]]:
        """What differs when a watcher is to be told at once."""
        return [(one.choices.mesh_id, mesh_state(one)[0], one.state.position) for one in self._daemon.meshes.values()]

    async def list_events(self, request: local_pb2.ListEventsRequest, actor: Actor) -> AsyncIterator[local_pb2.Event]:
        if request.mesh:
            self._daemon.find(request.mesh)
        journal = self._daemon.machine.journal
        since = request.since_revision if request.HasField("since_revision") else None

        def wanted(event: local_pb2.Event) -> bool:
            return (not request.mesh or event.mesh in ("", request.mesh)) and (since is None or event.revision > since)

        sequence = journal.last_sequence
        for event in journal.after(0):
            if wanted(event):
                yield event
        if request.follow:
            async for event in journal.follow(sequence):
                if wanted(event):
                    yield event

    async def ping(self, request: local_pb2.PingRequest, actor: Actor) -> local_pb2.PingReply:
        mesh = self._daemon.find(request.mesh)
        member = mesh.state.find_member(request.who)
        if member.id == mesh.choices.member_id:
            raise InvalidInput(f"{member.name} is this machine", "name another member")
        self._connected(mesh)
        count = min(request.count or 4, 1000)
        deadline = time.monotonic() + min(request.timeout_ms / 1000 or 10.0, 600.0)
        trips = []
        sent = 0
        for turn in range(count):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            sent += 1
            trip = await mesh.sessions.prober.measure(member.ipv4, min(2.0, remaining))
            if trip is not None:
                trips.append(trip)
                if turn + 1 < count:
                    await asyncio.sleep(min(0.2, max(deadline - time.monotonic(), 0)))
        status = member_status(mesh, member)
        return local_pb2.PingReply(
            sent=sent,
            received=len(trips),
            min_ms=min(trips, default=0),
            avg_ms=sum(trips) / len(trips) if trips else 0,
            max_ms=max(trips, default=0),
            path=status.path,
        )

    async def get_past(self, request: local_pb2.GetPastRequest, actor: Actor) -> local_pb2.GetPastReply:
        mesh = self._daemon.find(request.mesh)
        return mesh.sessions.day.message(mesh.state.find_member(request.who).id)

    async def doctor(self, request: local_pb2.DoctorRequest, actor: Actor) -> local_pb2.DoctorReply:
        async with self._examining:
            return local_pb2.DoctorReply(checks=await examine(self._daemon, request.mesh, actor))

    # --- meshes -----------------------------------------------------------------------------------------------------

    async def create_mesh(self, request: local_pb2.CreateMeshRequest, actor: Actor) -> local_pb2.CreateMeshReply:
        mesh, key = await self._daemon.exclusively(create(self._daemon, request))
        await self._until_writable(mesh)
        return local_pb2.CreateMeshReply(mesh=mesh_status(mesh), cluster_key=key)

    async def _until_writable(self, mesh: Mesh) -> None:
        deadline = time.monotonic() + 5
        version = -1
        while time.monotonic() < deadline and not (mesh.duties and mesh.duties.writable):
            version = await mesh.wait_changed(version, min(0.1, deadline - time.monotonic()))

    async def join_mesh(
        self, request: local_pb2.JoinMeshRequest, actor: Actor
    ) -> AsyncIterator[local_pb2.JoinProgress]:
        async for progress in join_mesh(self._daemon, request, actor.user):
            yield progress

    async def connect(self, request: local_pb2.ConnectRequest, actor: Actor) -> local_pb2.MeshReply:
        mesh = self._daemon.find(request.mesh)
        keys = parse_keys(request.keys) if request.HasField("keys") else None
        await self._daemon.exclusively(self._daemon.connect(mesh, actor.user, keys))
        return local_pb2.MeshReply(mesh=mesh_status(mesh))

    async def disconnect(self, request: local_pb2.DisconnectRequest, actor: Actor) -> local_pb2.MeshReply:
        mesh = self._daemon.find(request.mesh)
        pause_ms = min(request.pause_ms, LONGEST_PAUSE_MS)
        await self._daemon.exclusively(self._daemon.disconnect(mesh, actor.user, pause_ms))
        return local_pb2.MeshReply(mesh=mesh_status(mesh))

    async def leave_mesh(self, request: local_pb2.LeaveMeshRequest, actor: Actor) -> local_pb2.LeaveMeshReply:
        mesh = self._daemon.find(request.mesh)
        leaving = self._daemon.leave(mesh, self._actor(mesh, actor), request.timeout_ms / 1000)
        left = await self._daemon.exclusively(leaving)
        return local_pb2.LeaveMeshReply(left_behind=left, keyring_entry=mesh.choices.keyring_entry)

    async def show_key(self, request: local_pb2.ShowKeyRequest, actor: Actor) -> local_pb2.ShowKeyReply:
        mesh = self._daemon.find(request.mesh)
        return local_pb2.ShowKeyReply(cluster_key=mesh.cluster_keys.text())

    async def rotate_key(self, request: local_pb2.RotateKeyRequest, actor: Actor) -> local_pb2.ShowKeyReply:
        mesh = self._daemon.find(request.mesh)
        mesh.cluster_keys.present()
        result, _ = await self._submit(mesh, actor, request, rotate_key=node_pb2.RotateKey())
        if not await mesh.cluster_keys.wait_for(int(result.object_id), KEY_WAIT):
            raise OutcomeUnknown(
                f"the cluster key was rotated by change {result.position.revision}, which is not here yet",
                "see it in a moment: meshctl key show",
            )
        return local_pb2.ShowKeyReply(cluster_key=mesh.cluster_keys.text())

    async def back_up(self, request: local_pb2.BackUpRequest, actor: Actor) -> local_pb2.BackUpReply:
        return await back_up(self._daemon.find(request.mesh), request.passphrase)

    async def restore(self, request: local_pb2.RestoreRequest, actor: Actor) -> local_pb2.MeshReply:
        mesh = await self._daemon.exclusively(restore(self._daemon, request))
        return local_pb2.MeshReply(mesh=mesh_status(mesh))

    # --- changes ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _actor(mesh: Mesh, actor: Actor) -> str:
        return f"{mesh.me.name if mesh.me else mesh.choices.member_id} ({actor.user})"

    @staticmethod
    def _connected(mesh: Mesh) -> Duties:
        if mesh.duties is None:
            raise Unavailable(f"{mesh.name} is disconnected on this machine", f"meshctl up {mesh.name}")
        return mesh.duties

    async def _submit(
        self, mesh: Mesh, actor: Actor, request: Asked, missing: MeshError | None = None, kind: str = "", **what: object
    ) -> tuple[node_pb2.ChangeResult, local_pb2.ChangeReply]:
        """`missing`: why what it is about was not found here; raised when the primary does not know the request. `kind`
        is for a request that becomes another change when it is repeated."""
        duties = self._connected(mesh)
        change = node_pb2.Change(
            request_id=request.request_id or str(uuid.uuid4()),
            actor=self._actor(mesh, actor),
            content=_content(kind or next(iter(what)), request),
            **what,  # type: ignore[arg-type]  # one field of `what`
        )
        result = await duties.submit(change, defaults.COMMIT_TIMEOUT)
        if missing is not None and result.outcome == node_pb2.ChangeResult.REFUSED and result.code == "not-found":
            raise missing
        raise_refusal(result)
        version = -1
        deadline = time.monotonic() + 2.0
        while mesh.state.position.revision < result.position.revision and time.monotonic() < deadline:
            version = await mesh.wait_changed(version, deadline - time.monotonic())
        reply = local_pb2.ChangeReply(epoch=result.position.epoch, revision=result.position.revision)
        member = mesh.members.get(result.member_id)
        if member is not None:
            reply.member.CopyFrom(member_status(mesh, member))
        return result, reply

    def _member(self, mesh: Mesh, who: str, role: state_pb2.Role.ValueType = state_pb2.ROLE_UNSPECIFIED) -> Member:
        return mesh.state.find_member(who, Role.from_message(role) if role else None)

    def _id(
        self, mesh: Mesh, request_id: str, who: str, role: state_pb2.Role.ValueType = state_pb2.ROLE_UNSPECIFIED
    ) -> tuple[str, MeshError | None]:
        """Whom a change is about. A member that is not there may be gone, or called otherwise, by this very request, of
        which this is a repeat: the primary knows. Then the id is "", which nobody has, and the error comes with it."""
        try:
            return self._member(mesh, who, role).id, None
        except NotFound as error:
            if not request_id:
                raise
            return "", error

    async def remove_member(self, request: local_pb2.MemberRequest, actor: Actor) -> local_pb2.ChangeReply:
        mesh = self._daemon.find(request.mesh)
        member_id, missing = self._id(mesh, request.request_id, request.who, request.role)
        # A node that was removed knows the cluster key; a peer never did.
        member = mesh.state.parsed.get(member_id)
        rotate = member is not None and member.role is Role.NODE and member_id != mesh.choices.member_id
        change = node_pb2.RemoveMember(id=member_id, rotate_key=rotate)
        return (await self._submit(mesh, actor, request, missing, remove_member=change))[1]

    async def promote_node(self, request: local_pb2.MemberRequest, actor: Actor) -> local_pb2.ChangeReply:
        mesh = self._daemon.find(request.mesh)
        member = self._member(mesh, request.who, state_pb2.ROLE_NODE)
        change = node_pb2.PromoteNode(id=member.id)
        return (await self._submit(mesh, actor, request, promote_node=change))[1]

    async def set_election_timeout(
        self, request: local_pb2.ElectionTimeoutRequest, actor: Actor
    ) -> local_pb2.ChangeReply:
        mesh = self._daemon.find(request.mesh)
        change = node_pb2.SetElectionTimeout(milliseconds=request.milliseconds)
        return (await self._submit(mesh, actor, request, set_election_timeout=change))[1]

    async def force_promotion(
        self, request: local_pb2.ForcePromotionRequest, actor: Actor
    ) -> local_pb2.ForcePromotionReply:
        mesh = self._daemon.find(request.mesh)
        member = self._member(mesh, request.who, state_pb2.ROLE_NODE)
        return await force_promotion(mesh, member, request, actor.user)

    async def rename_member(self, request: local_pb2.RenameMemberRequest, actor: Actor) -> local_pb2.ChangeReply:
        mesh = self._daemon.find(request.mesh)
        member_id, missing = self._id(mesh, request.request_id, request.who)
        change = node_pb2.RenameMember(id=member_id, name=request.name)
        return (await self._submit(mesh, actor, request, missing, rename_member=change))[1]

    async def set_member_enabled(self, request: local_pb2.SetMemberFlagRequest, actor: Actor) -> local_pb2.ChangeReply:
        mesh = self._daemon.find(request.mesh)
        member_id, missing = self._id(mesh, request.request_id, request.who)
        change = node_pb2.SetEnabled(id=member_id, enabled=request.on)
        return (await self._submit(mesh, actor, request, missing, set_enabled=change))[1]

    async def set_member_admin(self, request: local_pb2.SetMemberFlagRequest, actor: Actor) -> local_pb2.ChangeReply:
        mesh = self._daemon.find(request.mesh)
        member_id, missing = self._id(mesh, request.request_id, request.who)
        change = node_pb2.SetAdmin(id=member_id, admin=request.on)
        return (await self._submit(mesh, actor, request, missing, set_admin=change))[1]

    async def authorize_peer(self, request: local_pb2.PeerRequest, actor: Actor) -> local_pb2.ChangeReply:
        mesh = self._daemon.find(request.mesh)
        change = node_pb2.AuthorizeRequest(id=request.id)
        return (await self._submit(mesh, actor, request, authorize_request=change))[1]

    async def deauthorize_peer(self, request: local_pb2.PeerRequest, actor: Actor) -> local_pb2.ChangeReply:
        """Removes a peer that was let in; refuses a request that still waits."""
        mesh = self._daemon.find(request.mesh)
        try:
            member = self._member(mesh, request.id, state_pb2.ROLE_PEER)
        except NotFound:
            change = node_pb2.RefuseRequest(id=request.id)
            return (await self._submit(mesh, actor, request, kind="deauthorize", refuse_request=change))[1]
        remove = node_pb2.RemoveMember(id=member.id)
        return (await self._submit(mesh, actor, request, kind="deauthorize", remove_member=remove))[1]

    @staticmethod
    def _meant(mesh: Mesh, request: local_pb2.RouteRequest) -> local_pb2.RouteRequest:
        """Without a node it is the one that is asked: repeated at another node, that is another request."""
        meant = local_pb2.RouteRequest()
        meant.CopyFrom(request)
        if not meant.node and mesh.is_node:
            meant.node = mesh.choices.member_id
        return meant

    def _route_node(self, mesh: Mesh, request: local_pb2.RouteRequest) -> tuple[str, MeshError | None]:
        if request.node:
            return self._id(mesh, request.request_id, request.node, state_pb2.ROLE_NODE)
        raise InvalidInput("this machine is a peer, which offers no routes", "say which node: --node WHO")

    async def add_route(self, request: local_pb2.RouteRequest, actor: Actor) -> local_pb2.ChangeReply:
        mesh = self._daemon.find(request.mesh)
        request = self._meant(mesh, request)
        node_id, missing = self._route_node(mesh, request)
        change = node_pb2.AddRoute(cidr=request.cidr, node_id=node_id, masquerade=True)
        return (await self._submit(mesh, actor, request, missing, add_route=change))[1]

    async def remove_route(self, request: local_pb2.RouteRequest, actor: Actor) -> local_pb2.ChangeReply:
        mesh = self._daemon.find(request.mesh)
        request = self._meant(mesh, request)
        missing: MeshError | None = None
        if request.node:
            node_id, missing = self._route_node(mesh, request)
        else:
            offering = [one.node_id for one in mesh.state.routes.values() if one.cidr == request.cidr]
            if len(offering) != 1:
                missing = InvalidInput(f"{len(offering)} nodes offer {request.cidr}", "say which: --node WHO")
            if missing is not None and (offering or not request.request_id):
                raise missing
            node_id = offering[0] if offering else ""
        change = node_pb2.RemoveRoute(cidr=request.cidr, node_id=node_id)
        return (await self._submit(mesh, actor, request, missing, remove_route=change))[1]

    async def set_route_preference(
        self, request: local_pb2.RoutePreferenceRequest, actor: Actor
    ) -> local_pb2.MeshReply:
        mesh = self._daemon.find(request.mesh)
        cidr = str(parse_route(request.cidr))
        accepted = set(mesh.choices.accepted_routes) - {cidr}
        ignored = set(mesh.choices.ignored_routes) - {cidr}
        (accepted if request.accept else ignored).add(cidr)
        await mesh.set_choices(accepted_routes=tuple(sorted(accepted)), ignored_routes=tuple(sorted(ignored)))
        if mesh.duties is not None:
            await mesh.reconcile()
        return local_pb2.MeshReply(mesh=mesh_status(mesh))

    async def create_invite(self, request: local_pb2.CreateInviteRequest, actor: Actor) -> local_pb2.CreateInviteReply:
        mesh = self._daemon.find(request.mesh)

        async def submit(change: node_pb2.CreateInvite) -> node_pb2.ChangeResult:
            return (await self._submit(mesh, actor, request, create_invite=change))[0]

        return await make_invite(mesh, request, submit)

    async def show_invite(self, request: local_pb2.ShowInviteRequest, actor: Actor) -> local_pb2.CreateInviteReply:
        return await show_invite(self._daemon.find(request.mesh), request.id)

    async def revoke_invite(self, request: local_pb2.RevokeInviteRequest, actor: Actor) -> local_pb2.ChangeReply:
        mesh = self._daemon.find(request.mesh)
        change = node_pb2.RevokeInvite(id=request.id)
        return (await self._submit(mesh, actor, request, revoke_invite=change))[1]


def _content(kind: str, request: Asked) -> bytes:
    """What a person asks for, as it stays when it is repeated: the names in it may be others' by then."""
    content = type(request)()
    content.CopyFrom(request)  # type: ignore[arg-type]  # of the same type
    content.ClearField("request_id")
    content.ClearField("mesh")
    return digest(kind, content.SerializeToString(deterministic=True))


def differences(sent: local_pb2.Status, present: local_pb2.Status) -> list[local_pb2.MeshDifference]:
    """What a watcher must be told so that it has `present` instead of `sent`. Pure."""
    before = {mesh.id: mesh for mesh in sent.meshes}
    found = []
    for mesh in present.meshes:
        old = before.pop(mesh.id, None)
        known = {member.id: member for member in old.members} if old else {}
        difference = local_pb2.MeshDifference(
            mesh_id=mesh.id,
            members=[member for member in mesh.members if known.pop(member.id, None) != member],
        )
        difference.removed_member_ids.extend(known)
        head = _head(mesh)
        if old is None or head != _head(old):
            difference.head.CopyFrom(head)
        if difference.members or difference.removed_member_ids or difference.HasField("head"):
            found.append(difference)
    found += [local_pb2.MeshDifference(mesh_id=mesh_id, removed=True) for mesh_id in before]
    return found


def _head(mesh: local_pb2.MeshStatus) -> local_pb2.MeshStatus:
    copy = local_pb2.MeshStatus()
    copy.CopyFrom(mesh)
    del copy.members[:]
    return copy
