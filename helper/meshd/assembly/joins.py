"""Joining a mesh from the local socket: picks the way by what was given, reports by stage, ends with a running mesh."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_interface, ip_network

from meshproto import base32, local_pb2, state_pb2
from meshproto.cluster_key import ClusterKey, is_cluster_key
from meshproto.format_error import FormatError
from meshproto.invite import Invite, parse_invite, redeem_token
from meshproto.keys import PrivateKey, PublicKey

from meshd import defaults
from meshd.assembly.daemon import Daemon
from meshd.assembly.mesh_networks import check_free, networks_of
from meshd.assembly.status import mesh_status
from meshd.cluster.certificates import fingerprint, new_private_key
from meshd.cluster.held_keys import parse_keys
from meshd.cluster.identity import Keys
from meshd.cluster.join_connection import JoinConnection, resolve
from meshd.cluster.joining import Joined, Progress, Wishes, join_as_node, redeem, request_access
from meshd.cluster.request_keys import forget_request_keys
from meshd.dataplane.desired import Address, Desired, DesiredFirewall, DesiredPeer, DesiredRoute, UdpEndpoint
from meshd.dataplane.plan import KEEPALIVE
from meshd.dataplane.wireguard.backend import DeviceChange, PeerChange
from meshd.model.errors import Conflict, InvalidInput, MeshError
from meshd.model.members import Endpoint, Member
from meshd.model.names import check_label, label_from_host
from meshd.paths.local_endpoints import source_towards
from meshd.rpc.status_codes import error_of

JOIN_TIME = 25.0
"""Seconds that joining may take when the caller doesn't say. Who says more gets more of everything below, too: a slow
machine or link needs it."""

REDEEM_TIME = 15.0
"""Seconds after which redeeming an invite gives up."""

PATIENCE = 3.0
"""Seconds that a node may take to answer whoever redeems an invite, before the session is started anew …"""

CROWD_PATIENCE = 1.0
"""… and with an invite for several machines, where another one may have taken the session over."""


SYNC_TIME = 3.0
"""Seconds that a new member waits to hear from the primary; without it the mesh can't be changed, and it says so."""


async def join_mesh(
    daemon: Daemon, request: local_pb2.JoinMeshRequest, person: str
) -> AsyncIterator[local_pb2.JoinProgress]:
    """Yields progress; the last one has the mesh. `person` asks for it. Raises MeshError, with nothing left behind.

    When the caller goes away, it ends; but once a node was asked to let this machine in, it goes on without the caller:
    else a member that nobody is would stay in the mesh. Not with keys from a keyring: nobody would keep them there.
    """
    reports: asyncio.Queue[local_pb2.JoinProgress | None] = asyncio.Queue()
    asked = asyncio.Event()
    task = asyncio.create_task(_join(daemon, request, person, reports, asked))
    task.add_done_callback(lambda _: reports.put_nowait(None))
    try:
        while (report := await reports.get()) is not None:
            yield report
        yield await task
    finally:
        if asked.is_set() and not request.HasField("keys"):
            daemon.let_finish(task)
        else:
            task.cancel()
            with suppress(asyncio.CancelledError, MeshError):
                await task


async def _join(
    daemon: Daemon,
    request: local_pb2.JoinMeshRequest,
    person: str,
    reports: asyncio.Queue[local_pb2.JoinProgress | None],
    asked: asyncio.Event,
) -> local_pb2.JoinProgress:
    last = ("", "")

    async def progress(stage: str, text: str, still_open: bool = False) -> None:
        nonlocal last
        if stage == "redeem":
            asked.set()
        if last != (stage, text):  # tries that are repeated look the same
            last = stage, text
            await reports.put(local_pb2.JoinProgress(stage=stage, text=text, open=still_open))

    async def pending(request_id: str, fingerprint: str) -> None:
        await reports.put(
            local_pb2.JoinProgress(
                stage="pending",
                text=f"waiting to be let in; on a node: meshctl peers authorize {request_id}",
                request_id=request_id,
                fingerprint=fingerprint,
            )
        )

    deadline = time.monotonic() + min(max(request.timeout_ms / 1000 or JOIN_TIME, 1.0), 24 * 3600.0)
    name = check_label(request.member_name or label_from_host(socket.gethostname()), "member name")
    try:
        if request.request:  # people take their time, and this machine's other meshes go on meanwhile
            wishes = await _peer_wishes(daemon, request, name, "mesh", person)
            joined = await _by_request(daemon, request, wishes, progress, pending, deadline)
            async with daemon.change_lock:
                joined = await _checked(daemon, joined, request)
                return await _become_member(daemon, joined, person, progress, deadline)
        async with daemon.change_lock:
            if is_cluster_key(request.what):
                joined = await _by_key(daemon, request, name, progress, deadline)
            else:
                joined = await _by_invite(daemon, request, parse_invite(request.what), person, progress, deadline)
            try:
                joined = await _checked(daemon, joined, request)
            except BaseException:
                await daemon.machine.network.remove(joined.identity.choices.interface)
                raise
            return await _become_member(daemon, joined, person, progress, deadline)
    except FormatError as error:
        raise InvalidInput(error.message, error.fix, error.code) from error


async def _become_member(
    daemon: Daemon, joined: Joined, person: str, progress: Callable[..., Awaitable[None]], deadline: float
) -> local_pb2.JoinProgress:
    await progress("tunnel", "setting up the tunnel")
    mesh = await daemon.adopt(joined, person)
    await asyncio.to_thread(forget_request_keys, daemon.settings.state_dir, fingerprint(joined.identity.ca_certificate))
    await progress("handshake", "waiting for the first handshake")
    version = -1
    limit = min(deadline, time.monotonic() + 8)
    while time.monotonic() < limit and mesh_status(mesh).state != local_pb2.CONNECTED:
        version = await mesh.wait_changed(version, min(0.2, limit - time.monotonic()))
    if (found := mesh_status(mesh)).state != local_pb2.CONNECTED:
        await progress("handshake", found.reason or "no answer yet", True)
    await progress("synced", "waiting for the state of the mesh")
    limit = min(limit, time.monotonic() + SYNC_TIME)
    while time.monotonic() < limit and not (mesh.duties and mesh.duties.writable):
        version = await mesh.wait_changed(version, min(0.1, limit - time.monotonic()))
    if not (mesh.duties and mesh.duties.writable):
        await progress("synced", "nothing heard from the primary yet", True)
    return local_pb2.JoinProgress(stage="done", text=f"joined {mesh.name}", mesh=mesh_status(mesh))


async def _wishes(daemon: Daemon, request: local_pb2.JoinMeshRequest, name: str, mesh: str) -> Wishes:
    listen_port = daemon.pick_udp_port(request.listen_port)
    endpoints, private = await daemon.endpoints(list(request.endpoints), listen_port)
    interface = await daemon.pick_interface(request.interface, mesh)
    return Wishes(
        name=name,
        interface=interface,
        listen_port=listen_port,
        join_port=daemon.pick_join_port(request.join_port if request.HasField("join_port") else None),
        endpoints=endpoints,
        given_endpoints=tuple(request.endpoints),
        behind_nat=private,
        keys=Keys(PrivateKey.from_random(os.urandom(32)), new_private_key()),
        person="",
        error_of=error_of,
        check=partial(_check, daemon, interface),
    )


async def _check(daemon: Daemon, interface: str, connection: JoinConnection) -> None:
    """Before this machine asks to be let in: a member that nobody is would stay in the mesh. Raises Conflict."""
    daemon.check_new(connection.mesh_name)
    with suppress(ValueError):  # no networks: what came is looked at again afterwards
        await check_free([ip_network(text) for text in connection.networks], interface, daemon.meshes.values())


async def _peer_wishes(daemon: Daemon, request: local_pb2.JoinMeshRequest, name: str, mesh: str, person: str) -> Wishes:
    """With the keys that the person brings, unless root's files shall have them."""
    if request.always_on:
        return await _wishes(daemon, request, name, mesh)
    if not request.HasField("keys"):
        raise InvalidInput(
            "a peer's keys are kept in a keyring, or in files that only root reads",
            "add --always-on for the files",
            "always-on-needed",
        )
    keys = parse_keys(request.keys)
    return replace(await _wishes(daemon, request, name, mesh), keys=keys, person=person)


async def _by_key(
    daemon: Daemon, request: local_pb2.JoinMeshRequest, name: str, progress: Progress, deadline: float
) -> Joined:
    key = ClusterKey.parse(request.what)
    hosts = [Endpoint.parse(text, defaults.JOIN_PORT) for text in request.hosts]
    if not hosts:
        raise InvalidInput("a cluster key needs the address of a node", "meshctl join - HOST")
    for mesh in daemon.meshes.values():
        if key.matches(mesh.identity.ca_certificate):
            raise Conflict(f"this machine is in {mesh.name} already", "see `meshctl status`", "already-joined")
    wishes = await _wishes(daemon, request, name, "mesh")
    return await join_as_node(key, hosts, wishes, progress, deadline - time.monotonic())


async def _by_request(
    daemon: Daemon,
    request: local_pb2.JoinMeshRequest,
    wishes: Wishes,
    progress: Progress,
    pending: Callable[[str, str], Awaitable[None]],
    deadline: float,
) -> Joined:
    hosts = [Endpoint.parse(text, defaults.JOIN_PORT) for text in request.hosts]
    expected = request.fingerprint.strip().lower() or None
    return await request_access(
        hosts,
        expected,
        wishes,
        progress,
        pending,
        daemon.settings.state_dir,
        deadline - time.monotonic(),
    )


async def _by_invite(
    daemon: Daemon,
    request: local_pb2.JoinMeshRequest,
    invite: Invite,
    person: str,
    progress: Progress,
    deadline: float,
) -> Joined:
    """Opens the tunnel with the invite's temporary key, redeems through it; the interface stays for the member."""
    if invite.expires_ms <= time.time() * 1000:
        raise Conflict(f"the invite to {invite.mesh_name} has expired", "ask for a new one", "invite-expired")
    check_label(invite.mesh_name, "mesh name")
    for mesh in daemon.meshes.values():
        if mesh.choices.mesh_id == invite.mesh_id:
            raise Conflict(f"this machine is in {mesh.name} already", "see `meshctl status`", "already-joined")
    daemon.check_new(invite.mesh_name)
    name = check_label(invite.member or request.member_name or label_from_host(socket.gethostname()), "member name")
    if invite.role == state_pb2.ROLE_NODE:
        wishes = await _wishes(daemon, request, name, invite.mesh_name)
    else:
        wishes = await _peer_wishes(daemon, request, name, invite.mesh_name, person)
    await progress("resolve", f"looking for the nodes of {invite.mesh_name}")
    endpoints = {}
    unknown: MeshError | None = None
    for node in invite.nodes:
        try:
            endpoint = await _usable(node.endpoints)
        except MeshError as error:
            unknown = error
            continue
        if endpoint is not None:
            endpoints[node.public_key] = endpoint
    if not endpoints:
        raise unknown or Conflict(
            f"this machine has no route to any node of {invite.mesh_name}", "check its network", "unreachable"
        )
    await progress("verify", f"opening the invite's tunnel to {invite.mesh_name}")
    machine, interface = daemon.machine, wishes.interface

    def temporary_network() -> Desired:
        return _temporary_network(invite, random.randint(0, invite.further_keys), wishes, endpoints)

    async def restart() -> None:
        """Starts the session anew, with another of the invite's keys where it has several."""
        temporary = temporary_network()
        await machine.network.apply(temporary)
        peers = []
        for key, peer in temporary.peers.items():
            peers.append(PeerChange(key, remove=True))
            peers.append(
                PeerChange(key, endpoint=peer.endpoint, keepalive=peer.keepalive, allowed_ips=peer.allowed_ips)
            )
        await machine.backend.apply(interface, DeviceChange(peers=tuple(peers)))

    slack = min(max(request.timeout_ms / 1000 / JOIN_TIME, 1.0), 20.0)
    services = [Endpoint(str(node.ipv4), node.redeem_port) for node in invite.nodes if node.public_key in endpoints]
    try:
        await machine.network.apply(temporary_network())
        joined = await redeem(
            invite.id,
            redeem_token(invite.temporary_key, invite.id),
            base32.encode(invite.ca_fingerprint),
            services,
            wishes,
            restart,
            progress,
            min(REDEEM_TIME * slack, deadline - time.monotonic()),
            (CROWD_PATIENCE if invite.further_keys else PATIENCE) * slack,
        )
    except BaseException:
        await machine.network.remove(interface, frozenset())
        raise
    return joined


async def _usable(endpoints: tuple[str, ...]) -> UdpEndpoint | None:
    """None where this machine has no way to any. Raises MeshError when none of their names is known."""
    unknown: list[MeshError] = []
    for text in endpoints:
        endpoint = Endpoint.parse(text)
        try:
            addresses = await resolve(endpoint.host, endpoint.port)
        except MeshError as error:
            unknown.append(error)
            continue
        for address in addresses:
            if source_towards(address) is not None:
                return UdpEndpoint(address, endpoint.port)
    if len(unknown) == len(endpoints) and unknown:
        raise unknown[0]
    return None


def _temporary_network(invite: Invite, number: int, wishes: Wishes, endpoints: dict[PublicKey, UdpEndpoint]) -> Desired:
    key, address = invite.access(number)
    own: frozenset[Address] = frozenset({address})
    return Desired(
        interface=wishes.interface,
        private_key=key,
        listen_port=wishes.listen_port,
        mtu=defaults.MTU,
        addresses=frozenset({ip_interface(address)}),
        peers={
            node.public_key: DesiredPeer(
                node.public_key, frozenset({ip_network(node.ipv4)}), endpoints[node.public_key], KEEPALIVE
            )
            for node in invite.nodes
            if node.public_key in endpoints
        },
        routes=frozenset(DesiredRoute(ip_network(node.ipv4), source=address) for node in invite.nodes),
        firewall=DesiredFirewall(own, frozenset(), 0, frozenset(), 0, None, frozenset(), frozenset()),
        forwarding=False,
    )


async def _checked(daemon: Daemon, joined: Joined, request: local_pb2.JoinMeshRequest) -> Joined:
    """Names the interface after the mesh; refuses a mesh whose pools this machine uses already. What was free before
    a person decided may be another mesh's by now. It was let in already: the error says who takes that back."""
    try:
        return await _fitted(daemon, joined, request)
    except MeshError as error:
        name = joined.view.settings.name
        own = [one for one in joined.view.members if one.id == joined.identity.choices.member_id]
        for member in map(Member.from_message, own):
            error.message += f"; {member.name} was let into {name} meanwhile and stays in its member list"
            again = f"then remove {member.name}, on a node of {name}: meshctl {member.role.value}s remove {member.name}"
            error.fix = f"{error.fix}; {again}" if error.fix else again
        raise


async def _fitted(daemon: Daemon, joined: Joined, request: local_pb2.JoinMeshRequest) -> Joined:
    settings: state_pb2.MeshSettings = joined.view.settings
    choices = joined.identity.choices
    daemon.check_new(settings.name)
    interface, listen_port = choices.interface, choices.listen_port
    if request.request:
        interface = await daemon.pick_interface(request.interface, settings.name)
        listen_port = daemon.pick_udp_port(request.listen_port)
    elif not request.interface and interface == "mesh":
        interface = await daemon.pick_interface("", settings.name)
    members = [Member.from_message(one) for one in joined.view.members]
    await check_free(networks_of(settings, members), interface, daemon.meshes.values())
    identity = joined.identity.with_choices(interface=interface, listen_port=listen_port)
    return Joined(identity, joined.view, joined.node_id)
