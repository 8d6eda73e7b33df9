"""From what is to what should be: the operations in between, in an order that drops no packet. Pure.

Peers come before routes and addresses, additions before removals, and nothing that is right already is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshd.dataplane.desired import Desired, DesiredPeer, DesiredRoute, Interface
from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerChange


@dataclass(frozen=True, slots=True)
class Actual:
    """What the machine has of one mesh."""

    device: DeviceState
    up: bool
    mtu: int
    addresses: frozenset[Interface]
    routes: frozenset[DesiredRoute]
    firewall: str  # digest of the table's contents, "" when it is missing or was changed by somebody
    sysctls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ChangeDevice:
    change: DeviceChange

    def describe(self) -> str:
        parts = []
        if self.change.private_key is not None:
            parts.append("set the private key")
        if self.change.listen_port is not None:
            parts.append(f"set the port to {self.change.listen_port}")
        added = sum(not peer.remove for peer in self.change.peers)
        removed = len(self.change.peers) - added
        if added:
            parts.append(f"set {added} peer{'s' * (added != 1)}")
        if removed:
            parts.append(f"removed {removed} peer{'s' * (removed != 1)}")
        return ", ".join(parts) or "set WireGuard"


@dataclass(frozen=True, slots=True)
class SetLink:
    mtu: int
    up: bool

    def describe(self) -> str:
        return f"set the interface up with MTU {self.mtu}"


@dataclass(frozen=True, slots=True)
class AddAddress:
    address: Interface

    def describe(self) -> str:
        return f"added address {self.address.ip}"


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    address: Interface

    def describe(self) -> str:
        return f"removed address {self.address.ip}"


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Adds the route, or replaces one of ours with the same destination and metric."""

    route: DesiredRoute

    def describe(self) -> str:
        return f"added route {self.route.destination}"


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    route: DesiredRoute

    def describe(self) -> str:
        return f"removed route {self.route.destination}"


@dataclass(frozen=True, slots=True)
class SetFirewall:
    def describe(self) -> str:
        return "set the firewall table"


@dataclass(frozen=True, slots=True)
class SetSysctl:
    name: str
    value: str

    def describe(self) -> str:
        return f"set {self.name} to {self.value}"


Operation = ChangeDevice | SetLink | AddAddress | RemoveAddress | AddRoute | RemoveRoute | SetFirewall | SetSysctl


def difference(desired: Desired, actual: Actual, firewall: str, sysctls: Mapping[str, str]) -> tuple[Operation, ...]:
    """`firewall` is the digest that the wanted table has; `sysctls` the wanted values by name."""
    operations: list[Operation] = []
    if actual.firewall != firewall:
        operations.append(SetFirewall())
    change = device_difference(desired, actual.device)
    if change is not None:
        operations.append(ChangeDevice(change))
    operations += [SetSysctl(name, value) for name, value in sysctls.items() if actual.sysctls.get(name) != value]
    if actual.mtu != desired.mtu or not actual.up:
        operations.append(SetLink(desired.mtu, True))
    operations += [AddAddress(one) for one in _sorted(desired.addresses - actual.addresses)]
    if not actual.up:  # the kernel forgets an interface's routes when it goes down
        operations += [AddRoute(route) for route in _routes(desired.routes)]
    else:
        operations += [AddRoute(route) for route in _routes(desired.routes - actual.routes)]
    replaced = {(route.destination, route.metric) for route in desired.routes}
    operations += [
        RemoveRoute(route)
        for route in _routes(actual.routes - desired.routes)
        if (route.destination, route.metric) not in replaced
    ]
    operations += [RemoveAddress(one) for one in _sorted(actual.addresses - desired.addresses)]
    return tuple(operations)


def _sorted(addresses: frozenset[Interface]) -> list[Interface]:
    return sorted(addresses, key=lambda one: (one.version, int(one.ip)))


def _routes(routes: frozenset[DesiredRoute]) -> list[DesiredRoute]:
    return sorted(routes, key=lambda one: (one.destination.version, str(one.destination), one.metric))


def device_difference(desired: Desired, actual: DeviceState) -> DeviceChange | None:
    """What to send to WireGuard; None when nothing. An unrelated peer is never mentioned."""
    changes: list[PeerChange] = [
        PeerChange(key, remove=True) for key in sorted(actual.peers) if key not in desired.peers
    ]
    for key in sorted(desired.peers):
        change = _peer_difference(desired.peers[key], actual)
        if change is not None:
            changes.append(change)
    port = desired.listen_port if desired.listen_port != actual.listen_port else None
    key_change = desired.private_key if actual.private_key != desired.private_key else None
    fwmark = desired.fwmark if desired.fwmark != actual.fwmark else None
    if not changes and port is None and key_change is None and fwmark is None:
        return None
    return DeviceChange(key_change, port, fwmark, tuple(changes))


def _peer_difference(wanted: DesiredPeer, actual: DeviceState) -> PeerChange | None:
    known = actual.peers.get(wanted.public_key)
    if known is None:
        return PeerChange(
            wanted.public_key, endpoint=wanted.endpoint, keepalive=wanted.keepalive, allowed_ips=wanted.allowed_ips
        )
    endpoint = wanted.endpoint if known.endpoint is None else None
    keepalive = wanted.keepalive if known.keepalive != wanted.keepalive else None
    surplus = known.allowed_ips - wanted.allowed_ips
    missing = wanted.allowed_ips - known.allowed_ips
    if endpoint is None and keepalive is None and not surplus and not missing:
        return None
    return PeerChange(
        wanted.public_key,
        update_only=True,
        endpoint=endpoint,
        keepalive=keepalive,
        allowed_ips=wanted.allowed_ips if surplus else missing,
        replace_allowed_ips=bool(surplus),
    )
