"""A mesh as the front ends show it. What is written here is what people believe, so it is only what was seen."""

from __future__ import annotations

import time
from collections.abc import Iterable

from meshproto import PROTOCOL_VERSION, local_pb2, state_pb2
from meshproto.durations import format_age
from meshproto.keys import PublicKey

from meshd.assembly.mesh import Mesh
from meshd.clocks import boottime
from meshd.cluster.certificates import fingerprint
from meshd.model.members import Member, Role
from meshd.model.position import Position
from meshd.model.voters import ELECTION_TIMEOUT_MS

CLOCK_SLACK = 120.0
"""Seconds that clocks may differ without a word."""

GRACE = 15.0
"""Seconds after a start in which a mesh that has not answered yet is connecting, not stale."""


def mesh_state(mesh: Mesh) -> tuple[local_pb2.MeshState.ValueType, str]:
    """(state, reason); the reason is "" when connected."""
    if mesh.choices.paused_until_ms:
        time.tzset()  # a laptop travels, and the zone of the machine is read once, or when that is asked for
        until = time.strftime("%H:%M", time.localtime(mesh.choices.paused_until_ms / 1000))
        return local_pb2.DOWN, f"paused until {until}; connect now with `meshctl up {mesh.name}`"
    if not mesh.choices.up:
        return local_pb2.DOWN, f"disconnected; connect with `meshctl up {mesh.name}`"
    if mesh.identity.held is None:
        person = mesh.choices.person
        return local_pb2.DOWN, f"its keys are in the keyring of {person}; connect with `meshctl up {mesh.name}`"
    if mesh.me is None:
        return local_pb2.DOWN, f"this machine was removed from {mesh.name}; `meshctl leave {mesh.name}` cleans up"
    if not mesh.me.enabled:
        stored = mesh.state.members.get(mesh.choices.member_id)
        by = f" by {stored.disabled_by}" if stored is not None and stored.disabled_by else ""
        return local_pb2.STALE, f"this machine was disabled in {mesh.name}{by}"
    if mesh.problem:
        return local_pb2.CONNECTING, mesh.problem
    if mesh.refused:
        return local_pb2.STALE, mesh.refused
    nodes = [one for one in mesh.present if one.role is Role.NODE and one.id != mesh.choices.member_id]
    if not nodes:
        return local_pb2.CONNECTED, ""
    if any(mesh.sessions.prober.answered(node.ipv4) and mesh.sessions.is_fresh(node) for node in nodes):
        return local_pb2.CONNECTED, ""
    if primary_id(mesh) == mesh.choices.member_id:
        return (
            local_pb2.CONNECTED,
            "",
        )  # the older of a pair leads alone: members elsewhere that are away don't lower it
    if mesh.is_node and not any(mesh.sessions.is_online(node) for node in nodes):
        others = "no other node answers"
    else:
        others = f"no answer from {', '.join(sorted(node.name for node in nodes)[:3])}"
    if mesh.sessions.last_answer:
        age = int(boottime() - mesh.sessions.last_answer)
        return local_pb2.STALE, f"{others} for {age} s{clock_problem(mesh)}"
    if mesh.sessions.running_for() < GRACE:
        return local_pb2.CONNECTING, others + clock_problem(mesh)
    return local_pb2.STALE, f"{others} since the start{clock_problem(mesh)}"


def clock_problem(mesh: Mesh) -> str:
    """Why nodes may refuse this machine: its clock was set back, or is before what the mesh knows to have happened."""
    now = time.time()
    behind = mesh.sessions.handshakes.set_back(now)
    known = max((member.joined_ms / 1000 for member in mesh.members.values()), default=0.0) - now
    if not behind and known > CLOCK_SLACK:
        behind = known
    if not behind:
        return ""
    fix = "set it right: timedatectl set-ntp true"
    return f"; this machine's clock is {format_age(int(behind * 1000)).removesuffix(' ago')} behind what it was; {fix}"


def states_line(meshes: Iterable[Mesh]) -> str:
    """For `systemctl status`: every mesh with its state, such as `home: connected; work: stale`."""
    states = (f"{mesh.name}: {local_pb2.MeshState.Name(mesh_state(mesh)[0]).lower()}" for mesh in meshes)
    return "; ".join(sorted(states)) or "in no mesh"


def primary_id(mesh: Mesh) -> str:
    """Who leads now; "" when nobody is known to."""
    return mesh.duties.primary_id if mesh.duties is not None else ""


def mesh_status(mesh: Mesh) -> local_pb2.MeshStatus:
    state, reason = mesh_state(mesh)
    primary = mesh.members.get(primary_id(mesh))
    settings = mesh.state.settings
    connected = state == local_pb2.CONNECTED
    return local_pb2.MeshStatus(
        name=mesh.name,
        id=mesh.choices.mesh_id,
        state=state,
        reason=reason,
        interface=mesh.choices.interface,
        backend=mesh.machine.backend.name_of(mesh.choices.interface),
        backend_reason=mesh.machine.backend.reason_of(mesh.choices.interface),
        self_id=mesh.choices.member_id,
        primary=primary.name if primary else "",
        epoch=mesh.state.position.epoch,
        revision=mesh.state.position.revision,
        writable=bool(connected and mesh.duties is not None and mesh.duties.writable),
        members=[
            member_status(mesh, member)
            for member in sorted(mesh.present, key=lambda one: (one.role is not Role.NODE, one.joined_ms, one.name))
        ],
        routes=_routes(mesh),
        invites=[invite_status(one) for one in sorted(mesh.state.invites.values(), key=lambda one: one.created_ms)],
        pending=[
            local_pb2.PendingStatus(
                id=one.id,
                name=one.name,
                public_key=str(PublicKey(one.public_key)),
                fingerprint=fingerprint(mesh.identity.ca_certificate),
                source=one.source,
                since_ms=one.since_ms,
            )
            for one in sorted(mesh.state.requests.values(), key=lambda one: one.since_ms)
            if not one.authorized_member_id and not one.refused
        ],
        warnings=[
            *(f"route {network} is not installed here: {why}" for network, why in mesh.refused_routes.items()),
            *(f"{one.check}: {one.found}" for one in mesh.checks() if one.state != local_pb2.OK),
        ],
        dns_domain=settings.dns_domain,
        election_timeout_ms=settings.election_timeout_ms or ELECTION_TIMEOUT_MS,
        keyring_entry=mesh.choices.keyring_entry,
        person=mesh.choices.person if mesh.choices.keyring_entry else "",
        wanted=mesh.choices.up,
        connected_by=mesh.choices.connected_by,
        paused_until_ms=mesh.choices.paused_until_ms,
        stale_since_ms=_stale_since_ms(mesh) if state == local_pb2.STALE else 0,
    )


def _stale_since_ms(mesh: Mesh) -> int:
    """By the clock as it is now, to the second, so that it does not look new each time; 0: no node ever answered."""
    answer = mesh.sessions.last_answer
    return int(time.time() - boottime() + answer) * 1000 if answer else 0


def invite_status(invite: state_pb2.Invite) -> local_pb2.InviteStatus:
    return local_pb2.InviteStatus(
        id=invite.id,
        member=invite.member,
        role=invite.role,
        uses=invite.uses,
        used=invite.used,
        state=invite.state,
        created_by=invite.created_by,
        created_ms=invite.created_ms,
        expires_ms=invite.expires_ms,
        cidr=invite.cidr,
        admin=invite.admin,
    )


def _routes(mesh: Mesh) -> list[local_pb2.RouteStatus]:
    offers: dict[str, list[state_pb2.Route]] = {}
    for route in mesh.state.routes.values():
        offers.setdefault(route.cidr, []).append(route)
    chosen = {str(network): node for network, node in mesh.routes.items()}
    refused = {str(network): why for network, why in mesh.refused_routes.items()}
    result = []
    for cidr, routes in sorted(offers.items()):
        names = [mesh.members[one.node_id].name for one in routes if one.node_id in mesh.members]
        node = mesh.members.get(chosen.get(cidr, ""))
        result.append(
            local_pb2.RouteStatus(
                cidr=cidr,
                nodes=sorted(names),
                chosen=node.name if node and mesh.sessions.is_online(node) else "",
                masquerade=any(one.masquerade for one in routes),
                not_installed=refused.get(cidr, ""),
            )
        )
    return result


def member_status(mesh: Mesh, member: Member) -> local_pb2.MemberStatus:
    is_self = member.id == mesh.choices.member_id
    peer = mesh.sessions.device.peers.get(member.public_key) if mesh.sessions.device and not is_self else None
    contact = mesh.sessions.prober.contact(member.ipv4)
    taking_part = _takes_part(mesh)
    online = member.enabled and taking_part and mesh.sessions.is_online(member)
    path, relay, why = _path(mesh, member, online)
    rate = mesh.sessions.rates.of(member.public_key)
    stored = mesh.state.members.get(member.id)
    endpoint = ""
    if peer is not None and peer.endpoint is not None and not mesh.sessions.is_transport(peer.endpoint.address):
        endpoint = str(peer.endpoint)
    elif member.endpoints:
        endpoint = str(member.endpoints[0])
    seen = mesh.presence.get(member.id)
    return local_pb2.MemberStatus(
        id=member.id,
        name=member.name,
        role=member.role.message,
        ipv4=str(member.ipv4),
        ipv6=str(member.ipv6) if mesh.ipv6 else "",
        public_key=str(member.public_key),
        subnets=[str(member.subnet)] if member.subnet else [],
        endpoint=endpoint,
        online=online,
        enabled=member.enabled,
        admin=member.admin,
        path=path,
        relay=relay,
        latest_handshake_ms=0 if is_self else int(mesh.sessions.handshake_shown(member) * 1000),
        rx_bytes=peer.rx_bytes if peer else 0,
        tx_bytes=peer.tx_bytes if peer else 0,
        rx_rate=rate.rx if taking_part else 0,
        tx_rate=rate.tx if taking_part else 0,
        latency_ms=contact.latency_ms if online and not is_self else 0,
        primary=member.id == primary_id(mesh),
        voter=member.id in mesh.state.voters.current,
        replica_lag=_lag(mesh, member) if taking_part or is_self else -1,
        joined_ms=member.joined_ms,
        joined_by=stored.joined_by if stored else member.joined_by,
        path_reason=why,
        candidates=[*map(str, member.endpoints), *(seen.candidates if seen else ())],
        store_state=_store_state(mesh, member) if taking_part or is_self else "",
        is_self=is_self,
        protocol_version=_version(mesh, member),
    )


def _takes_part(mesh: Mesh) -> bool:
    """Whether this machine has tunnels of the mesh now. Where it has none, what it knew about others is old."""
    return mesh.choices.up and mesh.identity.held is not None and mesh.me is not None and mesh.me.enabled


def _version(mesh: Mesh, member: Member) -> int:
    """Of the messages: as it spoke here, else as a node heard it, else as when it joined."""
    if member.id == mesh.choices.member_id:
        return PROTOCOL_VERSION
    seen = mesh.presence.get(member.id)
    return mesh.versions.get(member.id, 0) or (seen.protocol_version if seen else 0) or member.protocol_version


def _store_state(mesh: Mesh, member: Member) -> str:
    """What is known now: by this node of itself, else by the primary of a node that answers it."""
    if member.id == mesh.choices.member_id:
        return mesh.duties.store_state if mesh.duties is not None else ""
    health = mesh.node_health.get(member.id)
    return health.store_state if health is not None and health.reachable else ""


def _lag(mesh: Mesh, member: Member) -> int:
    """Revisions that a node's Redis is behind; -1 where that is not known."""
    if member.role is not Role.NODE:
        return -1
    if member.id == primary_id(mesh):
        return 0
    if member.id == mesh.choices.member_id:
        return max(mesh.committed.revision - mesh.state.position.revision, 0)
    health = mesh.node_health.get(member.id)
    if health is None or not health.reachable:
        return -1
    return max(mesh.committed.revision - Position.from_message(health.stored).revision, 0)


def _path(mesh: Mesh, member: Member, online: bool) -> tuple[local_pb2.Path.ValueType, str, str]:
    """(path, relaying node, why)."""
    if member.id == mesh.choices.member_id:
        return local_pb2.PATH_SELF, "", ""
    if not member.enabled:
        return local_pb2.PATH_NONE, "", "disabled"
    if not online:
        return local_pb2.PATH_NONE, "", "offline"
    way = mesh.sessions.ways.get(member.id)
    if mesh.sessions.over_transport(member) or (way is not None and not way.direct):
        node = mesh.members.get(way.relay or "") if way else None
        why = mesh.sessions.direct.why_relayed(member.id) or (way.reason if way else "")
        return local_pb2.PATH_RELAYED, node.name if node else "", why
    return local_pb2.PATH_DIRECT, "", ""
