"""Pools of a mesh and who gets which address (DESIGN.md section 9). Pure; the primary allocates in the transaction."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import chain, repeat

from google.protobuf.message import DecodeError
from meshproto import state_pb2
from meshproto.keys import PublicKey
from meshproto.networks import UNUSABLE

from meshd.model.errors import Conflict, Exhausted, InvalidInput
from meshd.model.members import Role
from meshd.model.state import State

DEFAULT_NODE_POOL = IPv4Network("10.11.0.0/16")
DEFAULT_NODE_PREFIX = 16
DEFAULT_PEER_POOL = IPv4Network("10.51.0.0/16")

PRIVATE = tuple(ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
"""RFC 1918, and RFC 6598 for those who have used that up."""

MEMBER_BITS = 40
"""Bits at the end of a transport address that tell members apart; the 24 before them tell nodes apart."""


def origin(source: IPv4Address | IPv6Address | str) -> str:
    """Whom a stranger's address counts for: itself, or of IPv6 its /64, which one machine can fill by itself. A text
    that is no address is what it is."""
    try:
        address = ip_address(source) if isinstance(source, str) else source
    except ValueError:
        return str(source)
    return str(ip_network((address, 64), strict=False) if address.version == 6 else address)


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
    for pool, option in ((nodes, "--node-pool"), (peers, "--peer-pool")):
        if any(pool.overlaps(one) for one in UNUSABLE if isinstance(one, IPv4Network)):
            raise InvalidInput(f"{pool} holds addresses that no machine can have", f"choose another {option}")
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
    check_networks(pools.networks, local)


def check_networks(networks: Sequence[IPv4Network | IPv6Network], local: Iterable[IPv4Network | IPv6Network]) -> None:
    """As `check_local`, for `Pools.networks` and whatever other networks of a mesh come after them."""
    routes = [network for network in local if network.prefixlen > 0]  # a default route overlaps everything
    for ours, option in zip(networks, chain(("--node-pool", "--peer-pool"), repeat("")), strict=False):
        for theirs in routes:
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


@lru_cache(maxsize=16384)
def transport_network(node: IPv6Address) -> IPv6Network:
    """Where members are reached through the node with this transport address: by its first bits."""
    return IPv6Network((int(node) >> MEMBER_BITS << MEMBER_BITS, 128 - MEMBER_BITS))


@lru_cache(maxsize=16384)
def transport_through(node: IPv6Address, member: IPv6Address) -> IPv6Address:
    """The member's transport address on the way through a node, both given by their own. A session that goes through
    another node changes its endpoint and nothing else, so no packet is lost (DESIGN.md section 8)."""
    last = int(member) & (1 << MEMBER_BITS) - 1
    return IPv6Address(int(node) >> MEMBER_BITS << MEMBER_BITS | last)


def check_transport(state: State, role: Role, transport: IPv6Address) -> None:
    """Raises Conflict when a member's transport addresses would be another's. A new key gives new ones."""
    for member in state.parsed.values():
        if member.transport is None:
            continue
        same_end = (int(member.transport) ^ int(transport)) & (1 << MEMBER_BITS) - 1 == 0
        same_start = role is member.role is Role.NODE and member.transport in transport_network(transport)
        if same_end or same_start:
            raise Conflict(
                f"the key gives the same transport address as {member.name} has", "join again: with a new key"
            )


def next_node_subnet(state: State, pools: Pools) -> IPv4Network:
    """The lowest subnet that no node has and no route overlaps. Raises Exhausted."""
    taken = [member.subnet for member in state.parsed.values() if member.subnet]
    taken += [IPv4Network(one.subnet) for one in unreadable(state) if one.subnet]
    taken += [IPv4Network(route.cidr) for route in state.routes.values() if ":" not in route.cidr]
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
        f"no node subnet is left: of {(end + 1 - start) // step} from {pools.node_pool} on, {len(state.nodes)} belong "
        "to nodes and the others to the peer pool or to routes",
        "remove nodes that are gone",
    )


def node_address(subnet: IPv4Network) -> IPv4Address:
    return subnet[1]


def next_peer_address(state: State, pools: Pools, name: str) -> IPv4Address:
    """A free address of the peer pool. Raises Exhausted."""
    pool = pools.peer_pool
    start = fnv1a(name) % pool.num_addresses if pools.addressing is Addressing.HASH else 0
    return _first_free(state, pool, range(start, start + pool.num_addresses))


def next_temporary_addresses(state: State, pools: Pools, count: int) -> list[IPv4Address]:
    """Free addresses for an invite, one after the other, from the top of the peer pool, away from those of members;
    a single one where so many in a row are not free. Raises Exhausted."""
    last = _first_free(state, pools.peer_pool, range(pools.peer_pool.num_addresses - 1, -1, -1))
    if count == 1:
        return [last]
    taken = taken_addresses(state)
    row = 0
    for number in range(int(last), int(pools.peer_pool.network_address), -1):
        row = 0 if number in taken else row + 1
        if row == count:
            return [IPv4Address(number + offset) for offset in range(count)]
    return [last]


def _first_free(state: State, pool: IPv4Network, order: Iterable[int]) -> IPv4Address:
    taken = taken_addresses(state)
    size, base = pool.num_addresses, int(pool.network_address)
    taken |= {base, base + size - 1}
    for offset in order:
        number = base + offset % size
        if number not in taken:
            return IPv4Address(number)
    inside = sum(base < number < base + size - 1 for number in taken)
    raise Exhausted(
        f"all {inside} addresses of the peer pool {pool} are taken: it holds {size - 2}",
        "remove peers and invites that are unused",
    )


def taken_addresses(state: State) -> set[int]:
    """IPv4 addresses as numbers: of members, and of invites whose temporary key still works."""
    taken = {int(member.ipv4) for member in state.parsed.values()}
    taken |= {int(IPv4Address(one.ipv4)) for one in unreadable(state)}
    for invite in state.invites.values():
        if invite.temporary_ipv4:
            first = int(IPv4Address(invite.temporary_ipv4))
            taken.update(range(first, first + 1 + len(invite.further_public_keys)))
    return taken


def unreadable(state: State) -> list[state_pb2.MemberStatement]:
    """What the members that this version can't read hold all the same: nobody else may get it."""
    found = []
    for member_id in state.problems:
        try:
            statement = state_pb2.MemberStatement.FromString(state.members[member_id].record.statement)
            IPv4Address(statement.ipv4)
            IPv4Network(statement.subnet or "0.0.0.0/32")
        except (KeyError, ValueError, DecodeError):
            continue
        found.append(statement)
    return found


def fnv1a(text: str) -> int:
    """128-bit FNV-1a (draft-eastlake-fnv). wesher takes its low bits as the address in the pool, and so do we."""
    value = 0x6C62272E07BB014262B821756295C58D
    for byte in text.encode():
        value = ((value ^ byte) * 0x0000000001000000000000000000013B) % (1 << 128)
    return value
