"""The text protocol of userspace WireGuard (wireguard.com/xplatform): changes to text, replies to values. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address

from meshproto.keys import PrivateKey, PublicKey

from meshd.dataplane.desired import Network, UdpEndpoint, network
from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerChange, PeerState
from meshd.model.errors import Failed

GET = b"get=1\n\n"


def encode_changes(change: DeviceChange, peers_at_once: int = 500) -> Iterator[bytes]:
    """The `set=1` requests for a change, in order, each with at most that many peers."""
    head = []
    if change.private_key is not None:
        head.append(f"private_key={change.private_key.data.hex()}")
    if change.listen_port is not None:
        head.append(f"listen_port={change.listen_port}")
    if change.fwmark is not None:
        head.append(f"fwmark={change.fwmark}")
    for start in range(0, max(len(change.peers), 1), peers_at_once):
        lines = head + [line for peer in change.peers[start : start + peers_at_once] for line in _peer_lines(peer)]
        head = []
        if lines:
            yield ("set=1\n" + "\n".join(lines) + "\n\n").encode()


def _peer_lines(peer: PeerChange) -> Iterator[str]:
    yield f"public_key={peer.public_key.data.hex()}"
    if peer.remove:
        yield "remove=true"
        return
    if peer.update_only:
        yield "update_only=true"
    if peer.endpoint is not None:
        yield f"endpoint={peer.endpoint}"
    if peer.keepalive is not None:
        yield f"persistent_keepalive_interval={peer.keepalive}"
    if peer.replace_allowed_ips:
        yield "replace_allowed_ips=true"
    for allowed in sorted(peer.allowed_ips, key=lambda one: (one.version, int(one.network_address), one.prefixlen)):
        yield f"allowed_ip={allowed}"


@lru_cache(maxsize=1 << 14)
def _networks(texts: tuple[str, ...]) -> frozenset[Network]:
    """A peer's allowed-ips hardly ever change, are read every two seconds, and reading them is slow."""
    return frozenset(map(network, texts))


@lru_cache(maxsize=1 << 14)
def _key(text: str) -> PublicKey:
    return PublicKey(bytes.fromhex(text))


_LARGEST = {"listen_port": 0xFFFF, "fwmark": 0xFFFF_FFFF}


def _number(text: str, largest: int = 2**64 - 1) -> int:
    found = int(text, 0) if text.startswith("0x") else int(text)
    if not 0 <= found <= largest:
        raise ValueError(f"{text[:40]} is not between 0 and {largest}")
    return found


@lru_cache(maxsize=1 << 14)
def _endpoint(text: str) -> UdpEndpoint:
    host, _, port = text.rpartition(":")
    return UdpEndpoint(ip_address(host.strip("[]").split("%")[0]), _number(port, 0xFFFF))


@dataclass(slots=True)
class _Peer:
    public_key: PublicKey
    endpoint: UdpEndpoint | None = None
    allowed_ips: list[str] = field(default_factory=list)
    keepalive: int = 0
    handshake_s: int = 0
    handshake_ns: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0

    def state(self) -> PeerState:
        at = self.handshake_s + self.handshake_ns / 1e9
        return PeerState(
            self.public_key,
            self.endpoint,
            _networks(tuple(self.allowed_ips)),
            self.keepalive,
            at if at > 0 else None,
            self.rx_bytes,
            self.tx_bytes,
        )


def decode_state(reply: bytes) -> DeviceState:
    """Reads the answer to `get=1`. Raises Failed when it is truncated, reports an error or holds what can't be."""
    private_key: PrivateKey | None = None
    numbers = {"listen_port": 0, "fwmark": 0}
    peers: dict[PublicKey, _Peer] = {}
    peer: _Peer | None = None
    errno: int | None = None
    try:
        for line in reply.decode("ascii").splitlines():
            key, separator, value = line.partition("=")
            if not line:
                continue
            if not separator:
                raise ValueError(f"no '=' in {line[:40]!r}")
            if key == "errno":
                errno = int(value)
            elif key == "private_key":
                data = bytes.fromhex(value)
                private_key = PrivateKey(data) if any(data) else None
            elif key == "public_key":
                peer = _Peer(_key(value))
                peers[peer.public_key] = peer
            elif peer is None:
                if key in numbers:
                    numbers[key] = _number(value, _LARGEST[key])
            else:
                _set_field(peer, key, value)
        states = {key: one.state() for key, one in peers.items()}
    except (ValueError, UnicodeDecodeError) as error:
        raise Failed(f"wireguard-go gave an answer that can't be read: {error}") from error
    if errno is None:
        raise Failed("wireguard-go's answer was cut off")
    check_errno(errno)
    return DeviceState(private_key, numbers["listen_port"], numbers["fwmark"], states)


def _set_field(peer: _Peer, key: str, value: str) -> None:
    if key == "endpoint":
        peer.endpoint = _endpoint(value)
    elif key == "allowed_ip":
        peer.allowed_ips.append(value)
    elif key == "persistent_keepalive_interval":
        peer.keepalive = _number(value, 0xFFFF)
    elif key == "last_handshake_time_sec":
        peer.handshake_s = _number(value)
    elif key == "last_handshake_time_nsec":
        peer.handshake_ns = _number(value)
    elif key == "rx_bytes":
        peer.rx_bytes = _number(value)
    elif key == "tx_bytes":
        peer.tx_bytes = _number(value)


def decode_errno(reply: bytes) -> int:
    """Reads the answer to `set=1`. Raises Failed when it is none."""
    for line in reply.splitlines():
        if line.startswith(b"errno="):
            try:
                return int(line[6:])
            except ValueError:
                break
    raise Failed("wireguard-go's answer was cut off")


def check_errno(errno: int) -> None:
    """Raises Failed for anything but 0."""
    if errno == -98:  # EADDRINUSE, asm-generic/errno.h; wireguard-go negates it
        raise Failed("the WireGuard port is taken", "choose another one: --listen-port", "port-taken")
    if errno != 0:
        raise Failed(f"wireguard-go refused the change (errno {errno})", "see its log in the run folder")
