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


_LARGEST = {"listen_port": 0xFFFF, "fwmark": 0xFFFF_FFFF}


def _number(text: str, largest: int = 2**64 - 1) -> int:
    found = int(text, 0) if text.startswith("0x") else int(text)
    if not 0 <= found <= largest:
        raise ValueError(f"{text[:40]} is not between 0 and {largest}")
    return found


@dataclass(slots=True)
class _Peer:
    """One peer's fields while its lines are read."""

    endpoint: UdpEndpoint | None = None
    allowed_ips: list[str] = field(default_factory=list)
    keepalive: int = 0
    handshake_s: int = 0
    handshake_ns: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0

    def set(self, key: str, value: str) -> None:
        if key == "endpoint":
            host, _, port = value.rpartition(":")
            self.endpoint = UdpEndpoint(ip_address(host.strip("[]").split("%")[0]), _number(port, 0xFFFF))
        elif key == "allowed_ip":
            self.allowed_ips.append(value)
        elif key == "persistent_keepalive_interval":
            self.keepalive = _number(value, 0xFFFF)
        elif key == "last_handshake_time_sec":
            self.handshake_s = _number(value)
        elif key == "last_handshake_time_nsec":
            self.handshake_ns = _number(value)
        elif key == "rx_bytes":
            self.rx_bytes = _number(value)
        elif key == "tx_bytes":
            self.tx_bytes = _number(value)


@lru_cache(maxsize=1 << 13)
def _peer(text: str) -> PeerState:
    """A peer's lines after `public_key=`. Thousands of idle ones are read every two seconds, always the same."""
    first, *lines = text.splitlines()
    peer = _Peer()
    for line in lines:
        key, separator, value = line.partition("=")
        if not separator:
            raise ValueError(f"no '=' in {line[:40]!r}")
        peer.set(key, value)
    at = peer.handshake_s + peer.handshake_ns / 1e9
    return PeerState(
        PublicKey(bytes.fromhex(first)),
        peer.endpoint,
        _networks(tuple(peer.allowed_ips)),
        peer.keepalive,
        at if at > 0 else None,
        peer.rx_bytes,
        peer.tx_bytes,
    )


@lru_cache(maxsize=1 << 13)
def _networks(texts: tuple[str, ...]) -> frozenset[Network]:
    """Those of a busy peer are the same each time, too."""
    return frozenset(map(network, texts))


def decode_state(reply: bytes) -> DeviceState:
    """Reads the answer to `get=1`. Raises Failed when it is truncated, reports an error or holds what can't be."""
    private_key: PrivateKey | None = None
    numbers = {"listen_port": 0, "fwmark": 0}
    try:
        text, marker, errno = reply.decode("ascii").rpartition("errno=")
        if not marker or text[-1:] not in ("", "\n") or not errno.endswith("\n"):
            raise Failed("wireguard-go's answer was cut off")
        if "errno=" in text:
            raise ValueError("two results")
        check_errno(int(errno))
        device, *peers = f"\n{text}".split("\npublic_key=")
        for line in device.split():
            key, separator, value = line.partition("=")
            if not separator:
                raise ValueError(f"no '=' in {line[:40]!r}")
            if key == "private_key":
                data = bytes.fromhex(value)
                private_key = PrivateKey(data) if any(data) else None
            elif key in numbers:
                numbers[key] = _number(value, _LARGEST[key])
        states = [_peer(one) for one in peers]
    except (ValueError, UnicodeDecodeError) as error:
        raise Failed(f"wireguard-go gave an answer that can't be read: {error}") from error
    return DeviceState(private_key, numbers["listen_port"], numbers["fwmark"], {one.public_key: one for one in states})


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
