"""What wireguard-go is told, and what is made of its answers, whatever they are."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.dataplane.desired import UdpEndpoint
from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerChange, PeerState
from meshd.dataplane.wireguard.uapi import check_errno, decode_errno, decode_state, encode_changes
from meshd.model.errors import Failed
from meshproto.keys import PrivateKey, PublicKey

A, B = PublicKey(bytes([1] * 32)), PublicKey(bytes([2] * 32))
SECRET = PrivateKey.from_random(bytes(range(32)))

REPLY = f"""\
private_key={SECRET.data.hex()}
listen_port=10100
fwmark=0x20
public_key={A.data.hex()}
preshared_key={"0" * 64}
protocol_version=1
endpoint=192.0.2.1:10100
last_handshake_time_sec=1700000000
last_handshake_time_nsec=500000000
tx_bytes=7
rx_bytes=5000000000
persistent_keepalive_interval=25
allowed_ip=10.11.0.0/16
allowed_ip=fd00::/64
public_key={B.data.hex()}
preshared_key={"0" * 64}
protocol_version=1
endpoint=[2001:db8::1%2]:10101
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=0
persistent_keepalive_interval=0
errno=0

""".encode()


def test_a_real_answer() -> None:
    state = decode_state(REPLY)
    assert (state.private_key, state.listen_port, state.fwmark) == (SECRET, 10100, 0x20)
    assert state.peers[A] == PeerState(
        A,
        UdpEndpoint(IPv4Address("192.0.2.1"), 10100),
        frozenset({ip_network("10.11.0.0/16"), ip_network("fd00::/64")}),
        25,
        1_700_000_000.5,
        5_000_000_000,
        7,
    )
    assert state.peers[B] == PeerState(
        B, UdpEndpoint(IPv6Address("2001:db8::1"), 10101), frozenset(), 0, None, 0, 0
    )  # fmt: skip


def test_an_interface_without_a_key() -> None:
    assert decode_state(b"errno=0\n\n") == DeviceState(None, 0, 0, {})
    assert decode_state(b"private_key=" + b"0" * 64 + b"\nerrno=0\n\n").private_key is None


def test_a_field_of_a_later_version_is_passed_over() -> None:
    reply = REPLY.replace(b"protocol_version=1\n", b"protocol_version=2\npost_quantum=maybe\n")
    assert decode_state(reply) == decode_state(REPLY)


@pytest.mark.parametrize("end", range(0, len(REPLY) - len(b"errno=0\n\n") + 1, 7))
def test_an_answer_that_was_cut_is_none(end: int) -> None:
    with pytest.raises(Failed):
        decode_state(REPLY[:end])


@pytest.mark.parametrize(
    "line",
    [
        "nothing",
        "private_key=12",
        "private_key=" + "g" * 64,
        "public_key=" + "1" * 63,
        "listen_port=many",
        "listen_port=-1",
        "listen_port=65536",
        "fwmark=-1",
        "errno=",
        f"public_key={'1' * 64}\nendpoint=192.0.2.1",
        f"public_key={'1' * 64}\nendpoint=gw-berlin.example:10100",
        f"public_key={'1' * 64}\nendpoint=192.0.2.1:65536",
        f"public_key={'1' * 64}\nallowed_ip=10.0.0.0/33",
        f"public_key={'1' * 64}\nrx_bytes=-1",
        f"public_key={'1' * 64}\nlast_handshake_time_sec=99999999999999999999",
        "public_key=\N{DIGIT ONE}\u0661",
    ],
)
def test_what_cannot_be_is_refused_by_name(line: str) -> None:
    with pytest.raises(Failed, match=r"can't be read|cut off"):
        decode_state(f"{line}\nerrno=0\n\n".encode())


def test_a_refusal_says_what_to_do() -> None:
    with pytest.raises(Failed, match="the WireGuard port is taken") as caught:
        decode_state(b"errno=-98\n\n")
    assert caught.value.code == "port-taken"
    with pytest.raises(Failed, match="errno -22"):
        check_errno(decode_errno(b"errno=-22\n\n"))
    check_errno(decode_errno(b"errno=0\n\n"))
    for damaged in (b"", b"errno=zero\n\n", b"error=0\n\n"):
        with pytest.raises(Failed, match="cut off"):
            decode_errno(damaged)


def test_no_secret_in_an_error() -> None:
    with pytest.raises(Failed) as caught:
        decode_state(f"private_key={SECRET.data.hex()}".replace("=", "").encode() + b"\nerrno=0\n\n")
    assert SECRET.data.hex() not in caught.value.message


@given(st.binary(max_size=400))
def test_any_bytes_are_a_state_or_refused(data: bytes) -> None:
    for reply in (data, data + b"\nerrno=0\n\n"):
        with contextlib.suppress(Failed):
            decode_state(reply)
        with contextlib.suppress(Failed):
            decode_errno(reply)


@given(st.integers(0, len(REPLY) - 1), st.binary(max_size=6), st.integers(0, 6))
def test_a_damaged_answer_is_a_state_or_refused(at: int, inserted: bytes, removed: int) -> None:
    with contextlib.suppress(Failed):
        decode_state(REPLY[:at] + inserted + REPLY[at + removed :])


keys = st.binary(min_size=32, max_size=32).map(PublicKey)
ports = st.integers(0, 65535)
endpoints = st.builds(UdpEndpoint, st.ip_addresses(), ports)
networks = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 128))
).map(lambda pair: ip_network(pair, strict=False))
peers = st.builds(
    PeerState,
    keys,
    st.none() | endpoints,
    st.frozensets(networks, max_size=5),
    ports,
    st.none() | st.integers(1, 2**33).map(float),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
)


def written(state: DeviceState) -> bytes:
    """As wireguard-go writes it (device/uapi.go)."""
    lines = []
    if state.private_key:
        lines.append(f"private_key={state.private_key.data.hex()}")
    lines += [f"listen_port={state.listen_port}"] * bool(state.listen_port)
    lines += [f"fwmark={state.fwmark}"] * bool(state.fwmark)
    for peer in state.peers.values():
        lines += [f"public_key={peer.public_key.data.hex()}", f"preshared_key={'0' * 64}", "protocol_version=1"]
        lines += [f"endpoint={peer.endpoint}"] * bool(peer.endpoint)
        lines.append(f"last_handshake_time_sec={int(peer.latest_handshake or 0)}")
        lines += ["last_handshake_time_nsec=0", f"tx_bytes={peer.tx_bytes}", f"rx_bytes={peer.rx_bytes}"]
        lines.append(f"persistent_keepalive_interval={peer.keepalive}")
        lines += [f"allowed_ip={network}" for network in peer.allowed_ips]
    return "\n".join([*lines, "errno=0", "", ""]).encode()


@given(
    st.none() | st.binary(min_size=32, max_size=32).map(PrivateKey.from_random),
    ports,
    st.integers(0, 2**32 - 1),
    st.lists(peers, max_size=4),
)
def test_every_state_is_read_back(key: PrivateKey | None, port: int, mark: int, found: list[PeerState]) -> None:
    state = DeviceState(key, port, mark, {peer.public_key: peer for peer in found})
    assert decode_state(written(state)) == state


def test_only_what_changes_is_sent() -> None:
    assert list(encode_changes(DeviceChange())) == []
    assert list(encode_changes(DeviceChange(fwmark=0))) == [b"set=1\nfwmark=0\n\n"]
    change = DeviceChange(
        private_key=SECRET,
        listen_port=10100,
        peers=(
            PeerChange(A, remove=True, keepalive=25),
            PeerChange(
                B,
                update_only=True,
                endpoint=UdpEndpoint(IPv6Address("2001:db8::1"), 10101),
                keepalive=0,
                allowed_ips=frozenset({ip_network("fd00::/64"), ip_network("10.11.0.0/16")}),
                replace_allowed_ips=True,
            ),
        ),
    )
    assert b"".join(encode_changes(change)).decode().splitlines() == [
        "set=1",
        f"private_key={SECRET.data.hex()}",
        "listen_port=10100",
        f"public_key={A.data.hex()}",
        "remove=true",
        f"public_key={B.data.hex()}",
        "update_only=true",
        "endpoint=[2001:db8::1]:10101",
        "persistent_keepalive_interval=0",
        "replace_allowed_ips=true",
        "allowed_ip=10.11.0.0/16",
        "allowed_ip=fd00::/64",
        "",
    ]


@given(st.lists(st.builds(PeerChange, keys, keepalive=ports), min_size=1, max_size=30), st.integers(1, 7))
def test_many_peers_go_in_several_requests(changes: list[PeerChange], at_once: int) -> None:
    requests = list(encode_changes(DeviceChange(listen_port=1, peers=tuple(changes)), at_once))
    assert len(requests) == -(-len(changes) // at_once)
    assert all(one.startswith(b"set=1\n") and one.endswith(b"\n\n") and one.count(b"\n\n") == 1 for one in requests)
    assert sum(one.count(b"listen_port=") for one in requests) == 1
    sent = [line for one in requests for line in one.splitlines() if line.startswith(b"public_key=")]
    assert sent == [b"public_key=" + one.public_key.data.hex().encode() for one in changes]
