"""The kernel's WireGuard messages, against a small model of what the kernel does with them (drivers/net/wireguard)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meshd.dataplane.desired import Network
from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerChange, PeerState
from meshd.dataplane.wireguard.kernel_messages import (
    ALLOWED_IPS_AT_ONCE,
    decode_dump,
    encode_changes,
    encode_request,
)
from meshd.dataplane.wireguard.memory import changed
from meshd.dataplane.wireguard.netlink import Malformed, attribute, attributes, nested, number
from meshproto.keys import PublicKey
from suites.wireguard import CHANGES, OWN, configured, endpoint, networks, private_key, public_key

LARGEST = 0xFFFF  # an attribute's length has 16 bits
HEADER = 4  # struct genlmsghdr


def allowed_ip(family: int, address: bytes, prefix: int) -> bytes:
    return nested(0, attribute(1, struct.pack("=H", family)) + attribute(2, address) + attribute(3, bytes([prefix])))


class Kernel:
    """Reads SET_DEVICE payloads as the kernel does, attribute by attribute; answers GET_DEVICE with `pieces`."""

    def __init__(self) -> None:
        self.head: dict[int, bytes] = {}
        self.peers: dict[bytes, dict[str, bytes | set[tuple[int, bytes, int]]]] = {}
        self.messages = 0

    def take(self, payload: bytes) -> None:
        self.messages += 1
        assert payload[:2] == b"\x01\x01"  # WG_CMD_SET_DEVICE, version 1
        for kind, value in attributes(payload[HEADER:]):
            if kind == 8:  # WGDEVICE_A_PEERS
                assert len(value) + 4 <= LARGEST
                for _, peer in attributes(value):
                    self._peer(dict(attributes(peer)))
            else:
                self.head[kind] = value

    def _peer(self, values: dict[int, bytes]) -> None:
        key, flags = values[1], number(values.get(3, bytes(4)))
        if flags & 1:  # WGPEER_F_REMOVE_ME
            self.peers.pop(key, None)
            return
        if flags & 4 and key not in self.peers:  # WGPEER_F_UPDATE_ONLY
            return
        peer = self.peers.setdefault(key, {"allowed": set()})
        if flags & 2:  # WGPEER_F_REPLACE_ALLOWEDIPS
            peer["allowed"] = set()
        allowed = peer["allowed"]
        assert isinstance(allowed, set)
        for _, one in attributes(values.get(9, b"")):
            fields = dict(attributes(one))
            network = (number(fields[1]), fields[2], number(fields[3]))
            for other in self.peers.values():
                others = other["allowed"]
                assert isinstance(others, set)
                others.discard(network)
            allowed.add(network)
        for number_, name in ((4, "endpoint"), (5, "keepalive")):
            if number_ in values:
                peer[name] = values[number_]

    def pieces(self, at_once: int) -> Iterable[bytes]:
        """A dump, a peer's allowed-ips cut after every `at_once`; each message has one peer."""
        head = b"".join(attribute(kind, value) for kind, value in self.head.items())
        yield bytes(HEADER) + head
        for key, peer in self.peers.items():
            allowed = peer["allowed"]
            assert isinstance(allowed, set)
            parts = sorted(allowed)
            for start in range(0, max(len(parts), 1), at_once):
                body = attribute(1, key)
                if start == 0:
                    for kind, name in ((4, "endpoint"), (5, "keepalive")):
                        value = peer.get(name)
                        if isinstance(value, bytes):
                            body += attribute(kind, value)
                    body += attribute(6, struct.pack("=qq", 0, 0)) + attribute(7, struct.pack("=Q", 0))
                body += nested(9, b"".join(allowed_ip(*one) for one in parts[start : start + at_once]))
                yield bytes(HEADER) + nested(8, nested(0, body))


def after(*changes: DeviceChange, at_once: int = 1000) -> DeviceState:
    kernel = Kernel()
    for change in changes:
        for payload in encode_changes("home", change):
            kernel.take(payload)
    return decode_dump(kernel.pieces(at_once))


def many(count: int, first: int = 0x0A000000) -> frozenset[Network]:
    return frozenset(ip_network((first + number, 32)) for number in range(count))


@given(st.lists(CHANGES, max_size=5), st.integers(1, 5))
def test_what_is_sent_comes_to_what_the_model_says(changes: list[DeviceChange], at_once: int) -> None:
    own = {OWN.public}  # the kernel itself leaves a machine's own key out
    changes = [
        replace(one, peers=tuple(peer for peer in one.peers if peer.public_key not in own), private_key=None)
        for one in changes
    ]
    model = DeviceState(None, 0, 0, {})
    for change in changes:
        model = changed(model, change)
    assert configured(after(*changes, at_once=at_once)) == model


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 2500), st.integers(0, 700), st.booleans(), st.booleans())
def test_however_many_there_are_each_part_fits_and_all_arrive(
    count: int, peers: int, replaces: bool, six: bool
) -> None:
    allowed = frozenset(
        ip_network(((0xFD << 120) + number, 128)) if six else ip_network((0x0A000000 + number, 32))
        for number in range(count)
    )
    busy = PeerChange(public_key(1), allowed_ips=allowed, replace_allowed_ips=replaces, keepalive=25)
    others = [
        PeerChange(public_key(number), allowed_ips=networks(f"172.16.{number % 250}.0/24"))
        for number in range(2, peers + 2)
    ]
    change = DeviceChange(listen_port=10177, peers=(busy, *others))
    kernel = Kernel()
    for payload in encode_changes("home", change):
        assert len(payload) < LARGEST
        kernel.take(payload)
    found = decode_dump(kernel.pieces(300))
    assert found.peers[busy.public_key].allowed_ips == allowed
    assert found.peers[busy.public_key].keepalive == 25
    assert len(found.peers) == peers + 1
    assert found.listen_port == 10177


def test_one_changed_peer_is_one_short_message() -> None:
    change = PeerChange(
        public_key(1), endpoint=endpoint("192.0.2.1"), keepalive=25, allowed_ips=networks("10.1.0.0/16")
    )
    [payload] = encode_changes("home", DeviceChange(peers=(change,)))
    assert len(payload) < 200


def test_a_thousand_peers_are_a_few_messages() -> None:
    peers = tuple(
        PeerChange(public_key(number), endpoint=endpoint("192.0.2.1"), keepalive=25, allowed_ips=many(2, number * 2))
        for number in range(1, 1001)
    )
    assert len(list(encode_changes("home", DeviceChange(peers=peers)))) <= 6


def test_nothing_to_change_is_no_message() -> None:
    assert list(encode_changes("home", DeviceChange())) == []


def test_head_fields_and_replace_flags_are_sent_once() -> None:
    """A later part that replaced again would throw away the earlier ones."""
    peer = PeerChange(public_key(1), allowed_ips=many(2000), replace_allowed_ips=True, endpoint=endpoint("192.0.2.1"))
    payloads = list(
        encode_changes("home", DeviceChange(private_key=private_key(), fwmark=1, listen_port=1, peers=(peer,)))
    )
    assert len(payloads) > 1
    heads, flags, endpoints = [], [], 0
    for payload in payloads:
        values = dict(attributes(payload[HEADER:]))
        heads.append(set(values))
        for _, one in attributes(values[8]):
            fields = dict(attributes(one))
            flags.append(number(fields.get(3, bytes(4))))
            endpoints += 4 in fields
    assert heads == [{2, 3, 6, 7, 8}] + [{2, 8}] * (len(payloads) - 1)
    assert flags == [2] + [0] * (len(flags) - 1)
    assert len(flags) == 2000 // ALLOWED_IPS_AT_ONCE
    assert endpoints == 1


def test_update_only_stays_in_every_part() -> None:
    """Else the second part would make the peer that the first one did not find."""
    peer = PeerChange(public_key(1), update_only=True, allowed_ips=many(2000), replace_allowed_ips=True)
    assert after(DeviceChange(peers=(peer,))).peers == {}


def test_a_request_names_the_interface() -> None:
    assert encode_request("home") == struct.pack("=BBH", 0, 1, 0) + attribute(2, b"home\0")


# --- dumps ----------------------------------------------------------------------------------------------------------


def dump(*fields: bytes) -> bytes:
    return bytes(HEADER) + nested(8, nested(0, b"".join(fields)))


def test_a_peer_is_read_whole() -> None:
    key = public_key(9)
    sockaddr = struct.pack(
        "=H2s4s16s4s", socket.AF_INET6, b"\0\x4d", bytes(4), b"\x20\x01\x0d\xb8" + bytes(11) + b"\x05", bytes(4)
    )
    allowed = allowed_ip(socket.AF_INET, bytes([10, 1, 0, 0]), 16)
    fields = [
        attribute(1, key.data),
        attribute(2, bytes(32)),  # the preshared key, which we don't use
        attribute(4, sockaddr),
        attribute(5, struct.pack("=H", 25)),
        attribute(6, struct.pack("=qq", 1_700_000_000, 500_000_000)),
        attribute(7, struct.pack("=Q", 1 << 40)),
        attribute(8, struct.pack("=Q", 2 << 40)),
        nested(9, allowed),
        attribute(99, b"of a later kernel"),
    ]
    [peer] = decode_dump([dump(*fields)]).peers.values()
    assert peer == PeerState(
        key, endpoint("2001:db8::5", 77), networks("10.1.0.0/16"), 25, 1_700_000_000.5, 1 << 40, 2 << 40
    )


def test_a_peer_without_a_handshake_has_none() -> None:
    [peer] = decode_dump([dump(attribute(1, bytes(32)), attribute(6, bytes(16)))]).peers.values()
    assert peer.latest_handshake is None


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"\0", "cut off"),
        (dump(), "no public key"),
        (dump(attribute(1, bytes(31))), "31 bytes"),
        (bytes(HEADER) + attribute(3, bytes(33)), "33 bytes"),
        (bytes(HEADER) + attribute(6, bytes(3)), "3 bytes"),
        (dump(attribute(1, bytes(32)), attribute(4, b"\x02\0")), "endpoint has 2"),
        (dump(attribute(1, bytes(32)), attribute(4, b"\x0a\0" + bytes(14))), "endpoint has 16"),
        (dump(attribute(1, bytes(32)), attribute(4, b"\x63\0" + bytes(14))), "family 99"),
        (dump(attribute(1, bytes(32)), attribute(6, bytes(8))), "time has 8"),
        (dump(attribute(1, bytes(32)), nested(9, nested(0, b""))), "no attribute 1"),
        (
            dump(attribute(1, bytes(32)), nested(9, allowed_ip(socket.AF_INET, bytes(4), 33))),
            "can't be read",
        ),
        (
            dump(attribute(1, bytes(32)), nested(9, allowed_ip(socket.AF_INET, bytes(16), 32))),
            "address has 16",
        ),
    ],
)  # fmt: skip
def test_what_a_kernel_would_never_say_is_refused(payload: bytes, sentence: str) -> None:
    with pytest.raises(Malformed, match=sentence):
        decode_dump([payload])


def _attributes(children: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    one = st.builds(attribute, st.integers(0, 12) | st.integers(0x8000, 0x800C), children)
    return st.lists(one, max_size=6).map(b"".join)


TREES = st.recursive(st.binary(max_size=40), _attributes, max_leaves=30)


@given(st.lists(st.binary(max_size=80) | TREES.map(lambda tree: bytes(HEADER) + tree), max_size=4))
def test_hostile_dumps_are_refused_or_read_never_worse(payloads: list[bytes]) -> None:
    with suppress(Malformed):
        state = decode_dump(payloads)
        assert all(isinstance(key, PublicKey) for key in state.peers)


VALID = next(
    encode_changes(
        "home",
        DeviceChange(
            fwmark=1,
            peers=(PeerChange(public_key(1), endpoint=endpoint("192.0.2.1"), keepalive=25, allowed_ips=many(3)),),
        ),
    )
)


@given(st.integers(0, len(VALID) - 1), st.integers(0, 255), st.integers(0, len(VALID)))
def test_a_damaged_dump_is_refused_or_read_never_worse(where: int, byte: int, length: int) -> None:
    damaged = bytearray(VALID)
    damaged[where] = byte
    for data in (bytes(damaged), bytes(damaged[:length])):
        with suppress(Malformed):
            decode_dump([data])
