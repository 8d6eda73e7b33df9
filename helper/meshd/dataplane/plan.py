"""From what is known about a mesh to what this machine's network should be. Pure: the same situation, the same plan.

Who is in the WireGuard configuration, which allowed-ips each one has, and which routes with which MTU, is decided
here and nowhere else (DESIGN.md section 8).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface

from meshproto.keys import PrivateKey, PublicKey

from meshd.dataplane.desired import (
    Address,
    Desired,
    DesiredFirewall,
    DesiredPeer,
    DesiredRoute,
    Network,
    RouteKind,
    UdpEndpoint,
    network_of,
)
from meshd.model.addresses import transport_network, transport_through
from meshd.model.members import Member, Role

RELAYED_MTU = 1328
"""Bytes. A relayed packet is wrapped twice: 1420 less IPv6 header 40, UDP 8 and WireGuard 32 would leave 1340, but
wireguard-go pads an inner 1340 to a datagram that no longer fits (measured: 1328 is the largest that passes)."""

KEEPALIVE = 25
"""Seconds. What WireGuard's documentation recommends: shorter than the 30 s of the meanest NAT routers."""

LAST_RESORT_METRIC = 0xFFFF0000
"""Metric of the `unreachable` route under a node's own subnet: any route of the machine itself goes before it."""


@dataclass(frozen=True, slots=True)
class TemporaryPeer:
    """The key pair inside an open invite, as every node must know it."""

    public_key: PublicKey
    ipv4: IPv4Address
    ipv6: IPv6Address


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that the plan depends on."""

    self_id: str
    private_key: PrivateKey
    interface: str
    listen_port: int
    mtu: int
    members: Mapping[str, Member]  # verified, self included
    peer_pool: IPv4Network
    ula: IPv6Network
    transport: IPv6Network
    endpoints: Mapping[str, UdpEndpoint] = field(default_factory=dict)  # where a session with this member starts
    relayed: frozenset[str] = frozenset()  # members whose session may run over their transport address
    routes: Mapping[Network, str] = field(default_factory=dict)  # installed route -> id of the chosen node
    offered: Mapping[Network, bool] = field(default_factory=dict)  # routes that this node offers -> masquerade
    temporary: tuple[TemporaryPeer, ...] = ()
    tests: frozenset[PublicKey] = frozenset()  # keys with which members test a straight path to here
    ipv6: bool = True  # this machine can have IPv6 addresses
    redis_port: int = 0
    redeem_port: int = 0


def plan(situation: Situation) -> Desired:
    """The whole desired state. A member that is disabled is in it for nobody; a disabled self keeps the nodes, so that
    it hears when it is enabled again."""
    me = situation.members[situation.self_id]
    others = [
        member
        for member in situation.members.values()
        if member.id != me.id
        and member.enabled
        and (member.role is Role.NODE or (me.enabled and member.role is not Role.DEVICE))
    ]
    return Desired(
        interface=situation.interface,
        private_key=situation.private_key,
        listen_port=situation.listen_port,
        mtu=situation.mtu,
        addresses=frozenset(ip_interface(address) for address in _own_addresses(situation, me, others)),
        peers=_peers(situation, me, others),
        routes=frozenset(_routes(situation, me, others)),
        firewall=_firewall(situation, me, others),
        forwarding=me.role is Role.NODE,
    )


def _own_addresses(situation: Situation, me: Member, others: list[Member]) -> list[Address]:
    own: list[Address] = [me.ipv4]
    if situation.ipv6:
        own.append(me.ipv6)
        if me.transport:
            own += [transport_through(node, me.transport) for node in _transport_nodes(me, others)]
    return own


def _transport_nodes(me: Member, others: list[Member]) -> list[IPv6Address]:
    """The transport addresses of the nodes: each is a way to every member."""
    return [one.transport for one in (me, *others) if one.role is Role.NODE and one.transport]


def _peers(situation: Situation, me: Member, others: list[Member]) -> dict[PublicKey, DesiredPeer]:
    more: dict[str, set[Network]] = defaultdict(set)  # what members carry besides their own addresses
    present = {member.id for member in others}
    for member in others:
        if member.subnet:
            more[member.id].add(member.subnet)
        if member.transport and member.role is Role.NODE:
            more[member.id].add(transport_network(member.transport))
    for network, node_id in situation.routes.items():
        if node_id in present:
            more[node_id].add(network)
    peers = {}
    for member in others:
        through_me = None
        if member.transport and me.transport and me.role is Role.NODE:
            through_me = transport_through(me.transport, member.transport)
        networks = _networks(member.ipv4, member.ipv6, through_me)
        peers[member.public_key] = DesiredPeer(
            member.public_key,
            networks | more[member.id] if member.id in more else networks,
            situation.endpoints.get(member.id),
            KEEPALIVE if _keeps_alive(me, member) else 0,
        )
    if me.role is Role.NODE and me.enabled:
        for temporary in situation.temporary:
            networks = _networks(temporary.ipv4, temporary.ipv6, None)
            peers.setdefault(temporary.public_key, DesiredPeer(temporary.public_key, networks))
    for key in situation.tests if me.enabled else ():
        peers.setdefault(key, DesiredPeer(key, frozenset()))
    return peers


@lru_cache(maxsize=1 << 14)
def _networks(ipv4: IPv4Address, ipv6: IPv6Address, transport: IPv6Address | None) -> frozenset[Network]:
    """A member's own addresses. Kept, because they never change and sets of thousands of networks take long to make."""
    return frozenset(network_of(one) for one in (ipv4, ipv6, transport) if one is not None)


def _keeps_alive(me: Member, other: Member) -> bool:
    """A peer keeps its sessions with nodes alive, so that the mesh can reach it; so does a node behind NAT."""
    return other.role is Role.NODE and (me.role is Role.PEER or me.behind_nat)


def _routes(situation: Situation, me: Member, others: list[Member]) -> list[DesiredRoute]:
    mesh_mtu = RELAYED_MTU if me.role is Role.PEER else 0
    routes = [DesiredRoute(situation.peer_pool, mtu=mesh_mtu, source=me.ipv4)]
    if situation.ipv6:
        routes.append(DesiredRoute(situation.ula, mtu=mesh_mtu, source=me.ipv6))
        if me.transport:
            routes += [
                DesiredRoute(transport_network(node), source=transport_through(node, me.transport))
                for node in _transport_nodes(me, others)
            ]
    for member in others:
        between_peers = me.role is Role.PEER and member.role is Role.PEER
        mtu = RELAYED_MTU if between_peers or member.id in situation.relayed else 0
        if member.subnet:
            routes.append(DesiredRoute(member.subnet, mtu=mtu, source=me.ipv4))
        if situation.ipv6 and mtu != mesh_mtu:
            routes.append(DesiredRoute(network_of(member.ipv6), mtu=mtu, source=me.ipv6))
        if not member.subnet and mtu != mesh_mtu:
            routes.append(DesiredRoute(network_of(member.ipv4), mtu=mtu, source=me.ipv4))
    present = {member.id for member in others}
    for network, node_id in situation.routes.items():
        if node_id in present and (network.version == 4 or situation.ipv6):
            mtu = RELAYED_MTU if node_id in situation.relayed else 0
            routes.append(DesiredRoute(network, mtu=mtu, source=me.ipv4 if network.version == 4 else me.ipv6))
    if me.subnet:
        routes.append(DesiredRoute(me.subnet, RouteKind.UNREACHABLE, metric=LAST_RESORT_METRIC))
    return routes


def _firewall(situation: Situation, me: Member, others: list[Member]) -> DesiredFirewall:
    is_node = me.role is Role.NODE
    offered = dict(situation.offered)
    if is_node and me.subnet:
        offered[me.subnet] = True
    elif not is_node:
        offered.clear()
    temporary = situation.temporary if is_node else ()
    return DesiredFirewall(
        own_addresses=frozenset(_own_addresses(situation, me, others)),
        nodes=frozenset(
            address for member in others if member.role is Role.NODE for address in (member.ipv4, member.ipv6)
        ),
        redis_port=situation.redis_port if is_node else 0,
        temporary=frozenset(address for peer in temporary for address in (peer.ipv4, peer.ipv6)),
        redeem_port=situation.redeem_port,
        transport_prefix=situation.transport if is_node else None,
        forward_to=frozenset(offered),
        masquerade_to=frozenset(network for network, masquerade in offered.items() if masquerade)
        if is_node
        else frozenset(),
    )
