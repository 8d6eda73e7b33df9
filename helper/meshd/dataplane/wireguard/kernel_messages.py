"""The kernel's WireGuard messages (linux/wireguard.h): changes to netlink payloads, dumps to values. Pure."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from meshproto.keys import PrivateKey, PublicKey

from meshd.dataplane.desired import Network, UdpEndpoint, network
from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerChange, PeerState
from meshd.dataplane.wireguard.netlink import Malformed, attribute, attributes, nested, number

GET_DEVICE, SET_DEVICE = 0, 1  # WG_CMD_*
_VERSION = 1  # WG_GENL_VERSION
_IFNAME, _PRIVATE_KEY, _LISTEN_PORT, _FWMARK, _PEERS = 2, 3, 6, 7, 8  # WGDEVICE_A_*
_PUBLIC_KEY, _FLAGS, _ENDPOINT, _KEEPALIVE, _HANDSHAKE, _RX, _TX, _ALLOWED_IPS = 1, 3, 4, 5, 6, 7, 8, 9  # WGPEER_A_*
_FAMILY, _ADDRESS, _PREFIX = 1, 2, 3  # WGALLOWEDIP_A_*
_REMOVE, _REPLACE_ALLOWED_IPS, _UPDATE_ONLY = 1, 2, 4  # WGPEER_F_*

_GENERIC_HEADER = struct.Struct("=BBH")  # struct genlmsghdr
_SOCKADDR_V4 = struct.Struct("=H2s4s8x")  # struct sockaddr_in
_SOCKADDR_V6 = struct.Struct("=H2s4x16s4x")  # struct sockaddr_in6
_TIMESPEC = struct.Struct("=qq")  # struct __kernel_timespec
_U16, _U32 = struct.Struct("=H"), struct.Struct("=I")

ALLOWED_IPS_AT_ONCE = 200
"""Allowed-ips in one part of a peer: 40 bytes each at most, so a part is 8 KiB."""

MESSAGE_LIMIT = 1 << 15
"""Bytes of peers in one message: with the last part under the 64 KiB that the attribute around them can hold."""


# --- changes --------------------------------------------------------------------------------------------------------


def encode_request(interface: str) -> bytes:
    """Asks for a dump of the interface."""
    return _GENERIC_HEADER.pack(GET_DEVICE, _VERSION, 0) + _name(interface)


def encode_changes(interface: str, change: DeviceChange) -> Iterator[bytes]:
    """The payloads for a change, to be sent in order. None when nothing is to change."""
    head = b""
    if change.private_key is not None:
        head += attribute(_PRIVATE_KEY, change.private_key.data)
    if change.listen_port is not None:
        head += attribute(_LISTEN_PORT, _U16.pack(change.listen_port))
    if change.fwmark is not None:
        head += attribute(_FWMARK, _U32.pack(change.fwmark))
    parts: list[bytes] = []
    size = 0
    for part in (part for peer in change.peers for part in _peer_parts(peer)):
        parts.append(part)
        size += len(part)
        if size >= MESSAGE_LIMIT:
            yield _set_message(interface, head, parts)
            head, parts, size = b"", [], 0
    if head or parts:
        yield _set_message(interface, head, parts)


def _set_message(interface: str, head: bytes, parts: list[bytes]) -> bytes:
    peers = nested(_PEERS, b"".join(parts)) if parts else b""
    return _GENERIC_HEADER.pack(SET_DEVICE, _VERSION, 0) + _name(interface) + head + peers


def _name(interface: str) -> bytes:
    return attribute(_IFNAME, interface.encode() + b"\0")


def _peer_parts(peer: PeerChange) -> Iterator[bytes]:
    """The peer, in several parts when it has many allowed-ips. Only the first one replaces and sets."""
    key = attribute(_PUBLIC_KEY, peer.public_key.data)
    if peer.remove:
        yield nested(0, key + attribute(_FLAGS, _U32.pack(_REMOVE)))
        return
    again = _UPDATE_ONLY if peer.update_only else 0
    flags = again | (_REPLACE_ALLOWED_IPS if peer.replace_allowed_ips else 0)
    extra = b""
    if peer.endpoint is not None:
        extra += attribute(_ENDPOINT, _sockaddr(peer.endpoint))
    if peer.keepalive is not None:
        extra += attribute(_KEEPALIVE, _U16.pack(peer.keepalive))
    networks = sorted(peer.allowed_ips, key=lambda one: (one.version, int(one.network_address), one.prefixlen))
    for start in range(0, max(len(networks), 1), ALLOWED_IPS_AT_ONCE):
        body = key + (attribute(_FLAGS, _U32.pack(flags)) if flags else b"") + extra
        some = networks[start : start + ALLOWED_IPS_AT_ONCE]
        if some:
            body += nested(_ALLOWED_IPS, b"".join(map(_allowed_ip, some)))
        yield nested(0, body)
        flags, extra = again, b""


def _sockaddr(endpoint: UdpEndpoint) -> bytes:
    port = endpoint.port.to_bytes(2, "big")
    if endpoint.address.version == 4:
        return _SOCKADDR_V4.pack(socket.AF_INET, port, endpoint.address.packed)
    return _SOCKADDR_V6.pack(socket.AF_INET6, port, endpoint.address.packed)


def _allowed_ip(allowed: Network) -> bytes:
    family = socket.AF_INET if allowed.version == 4 else socket.AF_INET6
    return nested(
        0,
        attribute(_FAMILY, _U16.pack(family))
        + attribute(_ADDRESS, allowed.network_address.packed)
        + attribute(_PREFIX, bytes([allowed.prefixlen])),
    )


# --- dumps ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Peer:
    public_key: PublicKey
    endpoint: UdpEndpoint | None = None
    allowed_ips: frozenset[Network] = frozenset()
    keepalive: int = 0
    latest_handshake: float | None = None
    rx_bytes: int = 0
    tx_bytes: int = 0

    def state(self) -> PeerState:
        return PeerState(
            self.public_key,
            self.endpoint,
            self.allowed_ips,
            self.keepalive,
            self.latest_handshake,
            self.rx_bytes,
            self.tx_bytes,
        )


def decode_dump(payloads: Iterable[bytes]) -> DeviceState:
    """Joins the messages of a dump; a peer may go on in the next one. Raises Malformed."""
    private_key: PrivateKey | None = None
    listen_port = fwmark = 0
    peers: dict[PublicKey, _Peer] = {}
    for payload in payloads:
        if len(payload) < _GENERIC_HEADER.size:
            raise Malformed("a message is cut off")
        for kind, value in attributes(payload[_GENERIC_HEADER.size :]):
            if kind == _PRIVATE_KEY:
                _check_length(value, 32, "a private key")
                private_key = PrivateKey(value) if any(value) else None
            elif kind == _LISTEN_PORT:
                listen_port = number(value)
            elif kind == _FWMARK:
                fwmark = number(value)
            elif kind == _PEERS:
                for _, one in attributes(value):
                    _read_peer(one, peers)
    return DeviceState(private_key, listen_port, fwmark, {key: peer.state() for key, peer in peers.items()})


def _read_peer(data: bytes, peers: dict[PublicKey, _Peer]) -> None:
    values = dict(attributes(data))
    if _PUBLIC_KEY not in values:
        raise Malformed("a peer has no public key")
    key = _read_key(values[_PUBLIC_KEY])
    peer = peers.setdefault(key, _Peer(key))
    if _ENDPOINT in values:
        peer.endpoint = _read_sockaddr(values[_ENDPOINT])
    if _KEEPALIVE in values:
        peer.keepalive = number(values[_KEEPALIVE])
    if _HANDSHAKE in values:
        _check_length(values[_HANDSHAKE], _TIMESPEC.size, "a time")
        seconds, nanoseconds = _TIMESPEC.unpack(values[_HANDSHAKE])
        peer.latest_handshake = seconds + nanoseconds / 1e9 if seconds > 0 else None
    if _RX in values:
        peer.rx_bytes = number(values[_RX])
    if _TX in values:
        peer.tx_bytes = number(values[_TX])
    allowed = _read_allowed_ips(values.get(_ALLOWED_IPS, b""))
    peer.allowed_ips = peer.allowed_ips | allowed if peer.allowed_ips else allowed


# The same few thousand values are read every few seconds: remembered, a dump takes a third of the time.


@lru_cache(maxsize=1 << 14)
def _read_key(data: bytes) -> PublicKey:
    _check_length(data, 32, "a public key")
    return PublicKey(data)


@lru_cache(maxsize=1 << 14)
def _read_sockaddr(data: bytes) -> UdpEndpoint:
    family = number(data[:2])
    if family == socket.AF_INET:
        _check_length(data, _SOCKADDR_V4.size, "an IPv4 endpoint")
        _, port, address = _SOCKADDR_V4.unpack(data)
        return UdpEndpoint(IPv4Address(address), int.from_bytes(port, "big"))
    if family == socket.AF_INET6:
        _check_length(data, _SOCKADDR_V6.size, "an IPv6 endpoint")
        _, port, address = _SOCKADDR_V6.unpack(data)
        return UdpEndpoint(IPv6Address(address), int.from_bytes(port, "big"))
    raise Malformed(f"an endpoint of family {family}")


@lru_cache(maxsize=1 << 14)
def _read_allowed_ips(data: bytes) -> frozenset[Network]:
    return frozenset(_read_allowed_ip(one) for _, one in attributes(data))


def _read_allowed_ip(data: bytes) -> Network:
    values = dict(attributes(data))
    try:
        family, address, prefix = number(values[_FAMILY]), values[_ADDRESS], number(values[_PREFIX])
        _check_length(address, 4 if family == socket.AF_INET else 16, "an allowed address")
        return network(f"{ip_address(address)}/{prefix}")
    except KeyError as error:
        raise Malformed(f"an allowed address has no attribute {error}") from error
    except ValueError as error:
        raise Malformed(f"an allowed address can't be read: {error}") from error


def _check_length(data: bytes, length: int, what: str) -> None:
    if len(data) != length:
        raise Malformed(f"{what} has {len(data)} bytes, not {length}")
