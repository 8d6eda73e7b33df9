"""WireGuard that is only remembered: for unit tests of what uses a backend. Nothing is sent, no handshake happens."""

from __future__ import annotations

from dataclasses import replace

from meshproto.keys import PublicKey

from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerChange, PeerState
from meshd.model.errors import Failed


class MemoryBackend:
    """`foreign` are names of links that are not ours. `devices` may be looked at and changed behind its back."""

    name = "memory"

    def __init__(self, foreign: frozenset[str] = frozenset()) -> None:
        self.devices: dict[str, DeviceState] = {}
        self._foreign = foreign

    async def create(self, interface: str, mtu: int) -> bool:
        if interface in self._foreign:
            raise Failed(f"interface {interface} already exists and is not ours", "remove it, or choose --interface")
        made = interface not in self.devices
        self.devices.setdefault(interface, DeviceState(None, 0, 0, {}))
        return made

    async def exists(self, interface: str) -> bool:
        return interface in self.devices

    async def read(self, interface: str) -> DeviceState:
        device = self.devices.get(interface)
        if device is None:
            raise Failed(f"interface {interface} is gone", "meshd makes it again by itself")
        return device

    async def apply(self, interface: str, change: DeviceChange) -> None:
        self.devices[interface] = changed(await self.read(interface), change)

    async def delete(self, interface: str) -> None:
        self.devices.pop(interface, None)

    async def close(self) -> None:
        pass


def changed(device: DeviceState, change: DeviceChange) -> DeviceState:
    """What WireGuard makes of a change: an address belongs to one peer, and a machine is not its own peer."""
    private_key = device.private_key if change.private_key is None else change.private_key
    own = None if private_key is None else private_key.public
    peers = {key: peer for key, peer in device.peers.items() if key != own}
    for one in change.peers:
        if one.remove:
            peers.pop(one.public_key, None)
        elif one.public_key != own and (one.public_key in peers or not one.update_only):
            _change_peer(peers, one)
    return DeviceState(
        private_key,
        device.listen_port if change.listen_port is None else change.listen_port,
        device.fwmark if change.fwmark is None else change.fwmark,
        peers,
    )


def _change_peer(peers: dict[PublicKey, PeerState], change: PeerChange) -> None:
    before = peers.get(change.public_key) or PeerState(change.public_key, None, frozenset(), 0, None, 0, 0)
    kept = frozenset() if change.replace_allowed_ips else before.allowed_ips
    for key, peer in peers.items():
        if peer.allowed_ips & change.allowed_ips:
            peers[key] = replace(peer, allowed_ips=peer.allowed_ips - change.allowed_ips)
    peers[change.public_key] = replace(
        before,
        endpoint=before.endpoint if change.endpoint is None else change.endpoint,
        keepalive=before.keepalive if change.keepalive is None else change.keepalive,
        allowed_ips=kept | change.allowed_ips,
    )
