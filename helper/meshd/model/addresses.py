"""Pools of a mesh and who gets which address (DESIGN.md section 9). Pure; the primary allocates in the transaction."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from meshproto import state_pb2
from meshproto.keys import PublicKey

from meshd.model.errors import Conflict, Exhausted, InvalidInput
from meshd.model.state import State

DEFAULT_NODE_POOL = IPv4Network("10.11.0.0/16")
DEFAULT_NODE_PREFIX = 16
DEFAULT_PEER_POOL = IPv4Network("10.51.0.0/16")

PRIVATE = tuple(ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
"""RFC 1918, and RFC 6598 for those who have used that up."""


class Addressing(enum.Enum):
    SEQUENTIAL = "sequential"
    HASH = "hash"


@dataclass(frozen=True, slots=True)
class Pools:
    """Where addresses come from. Node subnets go upward from `node_pool` when they are as large as it."""

    node_pool: IPv4Network
    node_prefix: int
    peer_pool: IPv4Network
    addressing: Addressing
    ula: IPv6Network
    transport: IPv6Network

    @classmethod
    def from_settings(cls, settings: state_pb2.MeshSettings) -> Pools:
        """Raises InvalidInput when the stored settings can't be read."""
        try:
            hashed = settings.addressing == state_pb2.ADDRESSING_HASH
            return cls(
                IPv4Network(settings.node_pool),
                settings.node_prefix,
                IPv4Network(settings.peer_pool),
                Addressing.HASH if hashed else Addressing.SEQUENTIAL,
                IPv6Network(settings.ula_prefix),
                IPv6Network(settings.transport_prefix),
            )
        except ValueError as error:
            raise InvalidInput(f"the settings of the mesh can't be read: {error}") from error

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return self.node_pool, self.peer_pool, self.ula, self.transport


def parse_ipv4_network(text: str, what: str) -> IPv4Network:
    """Raises InvalidInput; host bits that are set are named with the network that was meant."""
    try:
        return IPv4Network(text)
    except ValueError:
        pass
    try:
        meant = IPv4Network(text, strict=False)
    except ValueError:
        raise InvalidInput(f"{text!r} is not an IPv4 network ({what})", "write it like 10.11.0.0/16") from None
    raise InvalidInput(f"{text} has bits set behind its prefix ({what})", f"did you mean {meant}?")


def make_pools(mesh_id: str, node_pool: str, node_prefix: int, peer_pool: str, network: str, addressing: str) -> Pools:
    """The pools of a new mesh from what was asked for ("" and 0: defaults). Raises InvalidInput or Conflict."""
    if network:
        whole = parse_ipv4_network(network, "--network")
        if whole.prefixlen > 24:
            raise InvalidInput(f"{whole} is too small for a mesh", "use a /24 or larger")
        halves = list(whole.subnets(1))
        nodes = parse_ipv4_network(node_pool, "--node-pool") if node_pool else halves[0]
        peers = parse_ipv4_network(peer_pool, "--peer-pool") if peer_pool else halves[1]
        prefix = node_prefix or min(max(whole.prefixlen + 8, 24), 28)
        for pool in (nodes, peers):
            if not pool.subnet_of(whole):
                raise InvalidInput(f"{pool} is not inside --network {whole}")
    else:
        nodes = parse_ipv4_network(node_pool, "--node-pool") if node_pool else DEFAULT_NODE_POOL
        peers = parse_ipv4_network(peer_pool, "--peer-pool") if peer_pool else DEFAULT_PEER_POOL
        prefix = node_prefix or (DEFAULT_NODE_PREFIX if nodes.prefixlen <= DEFAULT_NODE_PREFIX else nodes.prefixlen)
    if not nodes.prefixlen <= prefix <= 30:
        raise InvalidInput(f"a node prefix of /{prefix} does not fit into {nodes}", f"use {nodes.prefixlen} to 30")
    if peers.prefixlen > 30:
        raise InvalidInput(f"{peers} is too small for peers", "use a /30 or larger")
    if nodes.overlaps(peers):
        raise Conflict(f"node pool {nodes} and peer pool {peers} overlap", "choose --node-pool and --peer-pool apart")
    try:
        way = Addressing(addressing or "sequential")
    except ValueError:
        raise InvalidInput(f"{addressing!r} is no addressing", "use sequential or hash") from None
    digest = hashlib.sha256(b"meshd-ula-1" + mesh_id.encode()).digest()
    site = bytes([0xFD]) + digest[:5]  # RFC 4193: fd, then 40 bits that nobody else has
    ula, transport = (IPv6Network((site + subnet.to_bytes(2, "big") + bytes(8), 64)) for subnet in (0, 1))
    return Pools(nodes, prefix, peers, way, ula, transport)


def check_local(pools: Pools, local: Iterable[IPv4Network | IPv6Network]) -> None:
    """Raises Conflict naming both prefixes when a pool overlaps a route of this machine."""
    for ours, option in ((pools.node_pool, "--node-pool"), (pools.peer_pool, "--peer-pool"), (pools.ula, "")):
        for theirs in local:
            if ours.version == theirs.version and ours.overlaps(theirs):
                fix = f"choose another one: {option} CIDR" if option else "create the mesh again"
                raise Conflict(f"pool {ours} overlaps {theirs}, which this machine has a route for", fix, "overlap")


def interface_id(key: PublicKey) -> int:
    """The low 64 bits of a member's IPv6 addresses, from its WireGuard key; never 0."""
    digest = hashlib.sha256(b"meshd-interface-id-1" + key.data).digest()
    # Bit 1 of the first byte says "not from a hardware address" when clear (RFC 4291 appendix A).
    return int.from_bytes(bytes([digest[0] & ~0x02]) + digest[1:8], "big") or 1


def ipv6_addresses(pools: Pools, key: PublicKey) -> tuple[IPv6Address, IPv6Address]:
    """(overlay, transport) address of the member with this key."""
    number = interface_id(key)
    return pools.ula[number], pools.transport[number]


def next_node_subnet(state: State, pools: Pools) -> IPv4Network:
    """The lowest subnet that no node has. Raises Exhausted."""
    taken = [member.subnet for member in state.parsed.values() if member.subnet]
    taken.append(pools.peer_pool)
    if pools.node_prefix == pools.node_pool.prefixlen:
        whole = next((one for one in PRIVATE if pools.node_pool.subnet_of(one)), pools.node_pool)  # type: ignore[arg-type]
    else:
        whole = pools.node_pool
    step = 1 << (32 - pools.node_prefix)
    start = int(pools.node_pool.network_address)
    end = int(whole.broadcast_address)
    used = {int(one.network_address) for one in taken if one.prefixlen == pools.node_prefix}
    odd = [one for one in taken if one.prefixlen != pools.node_prefix]
    for first in range(start, end + 1, step):
        if first in used:
            continue
        subnet = IPv4Network((first, pools.node_prefix))
        if not any(subnet.overlaps(one) for one in odd):
            return subnet
    raise Exhausted(
        f"all {(end + 1 - start) // step} node subnets from {pools.node_pool} are taken", "remove nodes that are gone"
    )


def node_address(subnet: IPv4Network) -> IPv4Address:
    return subnet[1]


def next_peer_address(state: State, pools: Pools, name: str) -> IPv4Address:
    """A free address of the peer pool. Raises Exhausted."""
    taken = taken_addresses(state)
    first, last = int(pools.peer_pool.network_address) + 1, int(pools.peer_pool.broadcast_address) - 1
    count = last - first + 1
    start = fnv1a(name) % count if pools.addressing is Addressing.HASH and name else 0
    for offset in range(count):
        number = first + (start + offset) % count
        if number not in taken:
            return IPv4Address(number)
    raise Exhausted(
        f"all {count} addresses of the peer pool {pools.peer_pool} are taken",
        "remove peers and invites that are unused",
    )


def taken_addresses(state: State) -> AbstractSet[int]:
    """IPv4 addresses as numbers: of members, and of invites whose temporary key still works."""
    taken = {int(member.ipv4) for member in state.parsed.values()}
    taken |= {int(IPv4Address(one.temporary_ipv4)) for one in state.invites.values() if one.temporary_ipv4}
    return taken


def fnv1a(text: str) -> int:
    """32-bit FNV-1a (draft-eastlake-fnv): the hash that wesher addresses by, too."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value
