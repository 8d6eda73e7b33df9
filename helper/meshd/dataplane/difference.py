"""From what is to what should be: the operations in between, in an order that drops no packet. Pure.

Nothing that is right already is mentioned, additions come before removals, and what limits traffic (the firewall)
comes before what lets it in (peers, addresses, routes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from meshproto.keys import PrivateKey, PublicKey

from meshd.dataplane.desired import Desired, DesiredFirewall, DesiredPeer, DesiredRoute, Interface, Network
from meshd.dataplane.operations import (
    AddAddress,
    AddRoute,
    ChangeDevice,
    MakeInterface,
    Operation,
    RemoveAddress,
    RemoveRoute,
    ReplaceRoute,
    SetFirewall,
    SetLink,
    SetSysctl,
)
from meshd.dataplane.sysctls import needed
from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerChange, PeerState

Place = tuple[Network, int]
"""Destination and metric: the kernel keeps one route for each in a table."""


@dataclass(frozen=True, slots=True)
class Actual:
    """What the machine has of one mesh."""

    device: DeviceState | None  # None: no interface
    up: bool = False
    mtu: int = 0
    addresses: frozenset[Interface] = frozenset()
    routes: frozenset[DesiredRoute] = frozenset()  # ours
    firewall: DesiredFirewall | None = None  # None: missing, or changed by somebody
    sysctls: Mapping[str, str] = field(default_factory=dict)
    ipv6: bool = True  # this machine lets the interface have IPv6 addresses


def difference(desired: Desired, actual: Actual) -> tuple[Operation, ...]:
    """What is to be done. Applying it and comparing again gives nothing."""
    if not actual.ipv6:
        desired = without_ipv6(desired)
    operations: list[Operation] = []
    device = actual.device
    if device is None:
        operations.append(MakeInterface(desired.interface))
        device = DeviceState(None, 0, 0, {})
    parting, others = device_difference(desired, device)
    if parting is not None:  # whoever loses access loses it before the firewall forgets the address
        operations.append(parting)
    if actual.firewall != desired.firewall:
        operations.append(SetFirewall(desired.interface))
    wanted_sysctls = needed(actual.sysctls, desired.interface, desired.forwarding)
    operations += [SetSysctl(name, value) for name, value in wanted_sysctls.items() if actual.sysctls[name] != value]
    if others is not None:
        operations.append(others)
    if actual.mtu != desired.mtu or not actual.up:
        operations.append(SetLink(desired.mtu))
    operations += [AddAddress(one) for one in _in_order(desired.addresses - actual.addresses)]
    operations += _route_differences(desired.routes, actual.routes)
    operations += [RemoveAddress(one) for one in _in_order(actual.addresses - desired.addresses)]
    return tuple(operations)


def is_repair(operation: Operation, before: Desired, now: Desired) -> bool:
    """Whether the operation, needed for the plan `now`, puts right what was already so in the plan `before`.

    Then somebody else undid it. What differs because the plan does is no repair.
    """
    match operation:
        case MakeInterface():
            return True
        case ChangeDevice():
            return (before.private_key, before.listen_port, before.fwmark, before.peers) == (
                now.private_key,
                now.listen_port,
                now.fwmark,
                now.peers,
            )
        case SetFirewall():
            return before.firewall == now.firewall
        case SetSysctl():
            return before.forwarding == now.forwarding
        case SetLink(mtu):
            return before.mtu == mtu
        case AddAddress(address):
            return address in before.addresses
        case RemoveAddress(address):
            return address not in before.addresses
        case AddRoute(route) | ReplaceRoute(route):
            return route in before.routes
        case RemoveRoute(route):
            return route not in before.routes


def without_ipv6(desired: Desired) -> Desired:
    """The same for a machine on which IPv6 is switched off."""
    return replace(
        desired,
        addresses=frozenset(one for one in desired.addresses if one.version == 4),
        routes=frozenset(one for one in desired.routes if one.destination.version == 4),
    )


def _in_order(addresses: Iterable[Interface]) -> list[Interface]:
    return sorted(addresses, key=lambda one: (one.version, int(one.ip), one.network.prefixlen))


# --- routes -------------------------------------------------------------------------------------------------------


def _route_differences(wanted: Iterable[DesiredRoute], actual: Iterable[DesiredRoute]) -> list[Operation]:
    plan, have = _by_place(wanted), _by_place(actual)
    operations: list[Operation] = []
    for place, route in plan.items():
        if place not in have:
            operations.append(AddRoute(route))
        elif have[place] != route:
            operations.append(ReplaceRoute(route))
    operations += [RemoveRoute(route) for place, route in have.items() if place not in plan]
    return operations


def _by_place(routes: Iterable[DesiredRoute]) -> dict[Place, DesiredRoute]:
    """One route for each place, the same one whatever the order: two would replace each other for ever."""
    found: dict[Place, DesiredRoute] = {}
    for route in sorted(routes, key=_route_order):
        found.setdefault((route.destination, route.metric), route)
    return found


def _route_order(route: DesiredRoute) -> tuple[object, ...]:
    network = route.destination
    source = -1 if route.source is None else int(route.source)
    return (
        network.version,
        int(network.network_address),
        network.prefixlen,
        route.metric,
        route.kind.value,
        route.mtu,
        source,
    )


# --- peers --------------------------------------------------------------------------------------------------------


def device_difference(desired: Desired, actual: DeviceState) -> tuple[ChangeDevice | None, ChangeDevice | None]:
    """(peers to remove at once, everything else); None for nothing. An unrelated peer is never mentioned.

    An allowed-ip that moves is only added at its new peer, which takes it from the old one with no moment in between.
    So a peer that loses one to another is removed after that, not before.
    """
    wanted = _one_owner(desired.peers)
    owned = _all(wanted.values())
    surplus = sorted(actual.peers.keys() - desired.peers.keys())
    parting = [key for key in surplus if not actual.peers[key].allowed_ips & owned]
    leaving = [key for key in surplus if actual.peers[key].allowed_ips & owned]

    changes: list[PeerChange] = []
    gone: set[Network] = set()
    added = 0
    for key, peer in desired.peers.items():
        known = actual.peers.get(key)
        if known is None:
            added += 1
            changes.append(PeerChange(key, False, False, peer.endpoint, peer.keepalive, wanted[key]))
            continue
        change = _peer_difference(peer, wanted[key], known)
        if change is not None:
            changes.append(change)
        if known.allowed_ips != wanted[key]:
            gone |= known.allowed_ips - wanted[key] - owned
    changes.sort(key=lambda one: one.public_key)
    changes += _parked(gone)
    changes += [PeerChange(key, remove=True) for key in leaving]

    private_key = desired.private_key if _clamped(actual.private_key) != _clamped(desired.private_key) else None
    port = desired.listen_port if desired.listen_port not in (0, actual.listen_port) else None
    fwmark = desired.fwmark if desired.fwmark != actual.fwmark else None
    first = DeviceChange(peers=tuple(PeerChange(key, remove=True) for key in parting))
    second = DeviceChange(private_key, port, fwmark, tuple(changes))
    return (
        ChangeDevice(first, removed=len(parting)) if parting else None,
        ChangeDevice(second, added, len(leaving)) if second != DeviceChange() else None,
    )


def _all(sets: Iterable[frozenset[Network]]) -> frozenset[Network]:
    return frozenset[Network]().union(*sets)


def _one_owner(peers: Mapping[PublicKey, DesiredPeer]) -> dict[PublicKey, frozenset[Network]]:
    """Allowed-ips, each at one peer only, as WireGuard has it; the lowest key wins, whatever the order."""
    if sum(len(peer.allowed_ips) for peer in peers.values()) == len(_all(peer.allowed_ips for peer in peers.values())):
        return {key: peer.allowed_ips for key, peer in peers.items()}
    taken: set[Network] = set()
    owners = {}
    for key in sorted(peers):
        owners[key] = frozenset(peers[key].allowed_ips - taken)
        taken |= owners[key]
    return owners


def _peer_difference(wanted: DesiredPeer, networks: frozenset[Network], known: PeerState) -> PeerChange | None:
    endpoint = wanted.endpoint if known.endpoint is None else None
    keepalive = wanted.keepalive if known.keepalive != wanted.keepalive else None
    missing = networks - known.allowed_ips if networks != known.allowed_ips else frozenset()
    if endpoint is None and keepalive is None and not missing:
        return None
    return PeerChange(wanted.public_key, update_only=True, endpoint=endpoint, keepalive=keepalive, allowed_ips=missing)


def _parked(gone: set[Network]) -> list[PeerChange]:
    """Takes allowed-ips from peers that keep others: a peer that exists for a moment takes them over.

    Replacing the whole set of a peer instead leaves a gap in which packets to its other addresses are lost.
    """
    if not gone:
        return []
    names = ",".join(sorted(str(network) for network in gone))
    key = PublicKey(hashlib.sha256(f"meshd parks {names}".encode()).digest())
    return [PeerChange(key, keepalive=0, allowed_ips=frozenset(gone)), PeerChange(key, remove=True)]


def _clamped(key: PrivateKey | None) -> PrivateKey | None:
    """As WireGuard reads it back (RFC 7748 section 5)."""
    return None if key is None else PrivateKey.from_random(key.data)
