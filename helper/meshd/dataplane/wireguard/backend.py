"""The one protocol that every WireGuard backend follows, and the values it speaks in.

`kernel` (generic netlink), `userspace` (wireguard-go over UAPI) and `memory` (unit tests) implement it; one test suite
runs over all three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from meshproto.keys import PrivateKey, PublicKey

from meshd.dataplane.desired import Network, UdpEndpoint


@dataclass(frozen=True, slots=True)
class PeerState:
    """A peer as the backend has it now."""

    public_key: PublicKey
    endpoint: UdpEndpoint | None
    allowed_ips: frozenset[Network]
    keepalive: int  # seconds, 0: off
    latest_handshake: float | None  # Unix seconds, None: never
    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True, slots=True)
class DeviceState:
    """An interface as the backend has it now. `private_key` is None while none was set."""

    private_key: PrivateKey | None
    listen_port: int
    fwmark: int
    peers: Mapping[PublicKey, PeerState]


@dataclass(frozen=True, slots=True)
class PeerChange:
    """A change of one peer. None leaves a field as it is.

    `allowed_ips` with `replace_allowed_ips` becomes the whole set, without it is added. `update_only` changes nothing
    when the peer does not exist. `remove` followed by another change of the same key in one DeviceChange restarts the
    session.
    """

    public_key: PublicKey
    remove: bool = False
    update_only: bool = False
    endpoint: UdpEndpoint | None = None
    keepalive: int | None = None
    allowed_ips: frozenset[Network] = frozenset()
    replace_allowed_ips: bool = False


def anew(peer: PeerState, endpoint: UdpEndpoint | None) -> PeerChange:
    """Adds a peer that was removed in the same change once more, as it was, with this endpoint."""
    return PeerChange(peer.public_key, endpoint=endpoint, keepalive=peer.keepalive, allowed_ips=peer.allowed_ips)


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """A change of one interface, applied in order. None leaves a field as it is; the listen port is never sent again
    when it is the same (setting it drops packets)."""

    private_key: PrivateKey | None = None
    listen_port: int | None = None
    fwmark: int | None = None
    peers: tuple[PeerChange, ...] = field(default=())


class Backend(Protocol):
    """Creates, reads and changes WireGuard interfaces. Errors are `meshd.model.errors.Failed` with what to do."""

    @property
    def name(self) -> str:
        """kernel, userspace or memory."""

    async def create(self, interface: str, mtu: int) -> bool:
        """Makes the interface, or adopts a live one of that name that is ours. Returns True when it was made now."""

    async def exists(self, interface: str) -> bool:
        """Whether a live WireGuard interface of that name is there."""

    async def read(self, interface: str) -> DeviceState: ...

    async def apply(self, interface: str, change: DeviceChange) -> None: ...

    async def delete(self, interface: str) -> None:
        """Removes the interface and whatever served it. Nothing happens when it is gone already."""

    async def close(self) -> None:
        """Lets go of sockets and watchers; interfaces stay."""
