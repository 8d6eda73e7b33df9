"""What packets meet on every WireGuard backend that has packets: sessions that others' changes never touch, and nested
sessions over transport addresses (DESIGN.md section 8).

ada (192.0.2.2) ── (192.0.2.1) node (198.51.100.1) ── (198.51.100.2) grace
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

from lab.dataplane.namespaces import Flood, Host, MakeBackend, wire
from meshd.dataplane.desired import UdpEndpoint
from meshd.dataplane.wireguard.backend import DeviceChange, PeerChange, PeerState, anew
from meshd.paths.handshake import Initiation
from meshproto.keys import PrivateKey

from suites.wireguard import endpoint, networks, private_key, public_key

PORT = 10100
MTU = 1328  # of what may be nested over IPv6; DESIGN.md section 8
PATTERN = bytes.fromhex("6d6573686d657368")  # in every ping that must not be readable on the way


@dataclass
class Member:
    host: Host
    interface: str
    key: PrivateKey
    number: int  # of its overlay addresses
    underlay: str

    @property
    def ipv4(self) -> str:
        return f"10.51.0.{self.number}"

    @property
    def ipv6(self) -> str:
        return f"fd00::{self.number}"

    @property
    def transport(self) -> str:
        return f"fd01::{self.number}"

    @property
    def direct(self) -> UdpEndpoint:
        return endpoint(self.underlay, PORT)

    @property
    def nested(self) -> UdpEndpoint:
        return endpoint(self.transport, PORT)

    def as_peer(self, *more: str, at: UdpEndpoint | None = None) -> PeerChange:
        return PeerChange(self.key.public, endpoint=at, allowed_ips=networks(self.ipv4, self.ipv6, *more))

    def change(self, *peers: PeerChange, **fields: object) -> None:
        self.host.do(self.host.backend.apply(self.interface, DeviceChange(peers=peers, **fields)))  # type: ignore[arg-type]

    def peer(self, other: Member) -> PeerState:
        return self.host.do(self.host.backend.read(self.interface)).peers[other.key.public]

    def ping(self, address: str, *options: str) -> tuple[int, int]:
        """(sent, received)"""
        command = ["ip", "netns", "exec", self.host.name, "ping", "-q", *options, address]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return counts(done.stdout)


@dataclass
class Three:
    ada: Member
    node: Member
    grace: Member


def counts(text: str) -> tuple[int, int]:
    found = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    assert found, text
    return int(found[1]), int(found[2])


@contextmanager
def three_members(folder: Path, make_backend: MakeBackend) -> Iterator[Three]:
    """ada and grace have a session with the node, and one with each other that is nested in those."""
    hosts: dict[str, Host] = {}
    try:
        for name in ("ada", "node", "grace"):
            (folder / name).mkdir()
            hosts[name] = Host(f"wt{os.getpid()}-{name}", folder / name, make_backend)
        wire(hosts["ada"], hosts["node"], "up0", "up0", ("192.0.2.2/24", "192.0.2.1/24"))
        wire(hosts["grace"], hosts["node"], "up0", "up1", ("198.51.100.2/24", "198.51.100.1/24"))
        hosts["ada"].ip("route", "add", "default", "via", "192.0.2.1")
        hosts["grace"].ip("route", "add", "default", "via", "198.51.100.1")
        hosts["node"].run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        underlays = {"ada": "192.0.2.2", "node": "192.0.2.1", "grace": "198.51.100.2"}
        members = {
            name: Member(host, f"{name}{os.getpid()}", private_key(), number, underlays[name])
            for number, (name, host) in enumerate(hosts.items(), 1)
        }
        three = Three(**members)
        for member in members.values():
            _bring_up(member)
        node, ada, grace = three.node, three.ada, three.grace
        node.change(ada.as_peer(ada.transport), grace.as_peer(grace.transport))
        for one, other, gate in ((ada, grace, "192.0.2.1"), (grace, ada, "198.51.100.1")):
            one.change(node.as_peer("fd01::/64", at=endpoint(gate, PORT)), other.as_peer(at=other.nested))
        for one, other in ((ada, node), (grace, node), (ada, grace)):
            assert one.ping(other.ipv4, "-c", "1", "-W", "10")[1] == 1, f"{one.interface} to {other.interface}"
        yield three
    finally:
        for host in hosts.values():
            for interface in [one for one in links(host) if one.endswith(str(os.getpid()))]:
                host.do(host.backend.delete(interface))
            host.end()


def links(host: Host) -> list[str]:
    return re.findall(r"^\d+: ([^:@]+)", host.ip("link"), re.MULTILINE)


def _bring_up(member: Member) -> None:
    host, interface = member.host, member.interface
    assert host.do(host.backend.create(interface, 1420)) is True
    member.change(private_key=member.key, listen_port=PORT)
    host.ip("link", "set", interface, "up")
    host.ip("addr", "add", f"{member.ipv4}/32", "dev", interface)
    for address in (member.ipv6, member.transport):
        host.ip("addr", "add", f"{address}/128", "dev", interface, "nodad")
    host.ip("route", "add", "10.51.0.0/24", "dev", interface, "mtu", str(MTU), "src", member.ipv4)
    host.ip("route", "add", "fd00::/64", "dev", interface, "mtu", str(MTU), "src", member.ipv6)
    host.ip("route", "add", "fd01::/64", "dev", interface, "src", member.transport)


def stay_on(one: Member, other: Member, nested: bool) -> None:
    """Sets the endpoints until both ends have reported them 20 times: what is under way makes WireGuard roam back."""
    wanted = [(a, b.key.public, b.nested if nested else b.direct) for a, b in ((one, other), (other, one))]
    deadline = time.monotonic() + 30
    steady = 0
    while steady < 20:
        assert time.monotonic() < deadline, "the endpoints never settle"
        right = all(a.host.do(a.host.backend.read(a.interface)).peers[key].endpoint == at for a, key, at in wanted)
        steady = steady + 1 if right else 0
        for a, key, at in wanted:
            a.change(PeerChange(key, update_only=True, endpoint=at))


def was_reset(before: float | None, after: float | None) -> bool:
    """WireGuard itself renews a session after 120 s, and not sooner."""
    assert before is not None
    return after != before and (after is None or after - before < 110)


class TrafficSuite:
    """`three` comes from the class that inherits this."""

    def test_handshakes_and_counters_are_those_of_wg(self, three: Three) -> None:
        three.ada.ping(three.node.ipv4, "-c", "3", "-i", "0.05")
        found = three.ada.peer(three.node)
        assert found.latest_handshake is not None
        assert 0 <= time.time() - found.latest_handshake < 180
        assert found.rx_bytes > 0
        assert found.tx_bytes > 0
        lines = three.ada.host.run("wg", "show", three.ada.interface, "dump").splitlines()[1:]
        fields = next(line.split("\t") for line in lines if line.startswith(str(three.node.key.public)))
        assert int(fields[4]) == int(found.latest_handshake)
        assert int(fields[5]) >= found.rx_bytes
        assert fields[2] == str(found.endpoint)

    def test_a_nested_session_carries_full_packets(self, three: Three) -> None:
        stay_on(three.ada, three.grace, nested=True)
        for options in (("-M", "do", "-s", str(MTU - 28)), ("-s", "8000")):
            assert three.ada.ping(three.grace.ipv4, "-c", "3", "-i", "0.1", *options) == (3, 3)
        assert three.ada.ping(three.grace.ipv6, "-c", "3", "-i", "0.1", "-M", "do", "-s", str(MTU - 48)) == (3, 3)

    def test_who_relays_a_nested_session_can_not_read_it(self, three: Three) -> None:
        async def listen() -> socket.socket:
            capture = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
            capture.bind((three.node.interface, 3))
            capture.setblocking(False)
            return capture

        stay_on(three.ada, three.grace, nested=True)
        with three.node.host.do(listen()) as capture:
            three.ada.ping(three.node.ipv4, "-c", "1", "-p", PATTERN.hex())
            assert any(PATTERN in packet for packet in packets(capture)), "it hears what is meant for it"
            three.ada.ping(three.grace.ipv4, "-c", "20", "-i", "0.01", "-p", PATTERN.hex())
            heard = packets(capture)
        assert len(heard) >= 40
        assert not [packet for packet in heard if PATTERN in packet]

    def test_a_nested_session_moves_to_direct_and_back_without_losing_a_packet(self, three: Three) -> None:
        stay_on(three.ada, three.grace, nested=True)
        began = three.ada.peer(three.grace).latest_handshake
        flood = Flood(three.ada.host, three.grace.ipv4, 0.01)
        for _ in range(10):
            stay_on(three.ada, three.grace, nested=False)
            stay_on(three.ada, three.grace, nested=True)
        lost, sent = flood.lost()
        assert sent > 20
        assert lost == 0, f"{lost} of {sent}"
        assert not was_reset(began, three.ada.peer(three.grace).latest_handshake)

    def test_a_session_is_never_reset_by_changes_of_others(self, three: Three) -> None:
        node = three.node
        strangers = [
            PeerChange(
                public_key(number), keepalive=0, allowed_ips=networks(f"172.16.{number // 250}.{number % 250}/32")
            )
            for number in range(1, 501)
        ]
        gone = [PeerChange(one.public_key, remove=True) for one in strangers]
        three.ada.ping(node.ipv4, "-c", "1")
        began = node.peer(three.ada).latest_handshake
        plain, nested = (Flood(three.ada.host, one.ipv4, 0.01) for one in (node, three.grace))
        for turn in range(3):
            node.change(*strangers)
            for number in range(30):
                one = strangers[number]
                moved = frozenset({*one.allowed_ips, ip_network(f"172.17.{turn}.{number}/32")})
                node.change(replace(one, allowed_ips=moved, replace_allowed_ips=True, endpoint=three.grace.direct))
                node.host.do(node.host.backend.read(node.interface))
            node.change(private_key=node.key, fwmark=0)
            node.change(*gone)
        lost, sent = plain.lost()
        lost_nested, sent_nested = nested.lost()
        assert min(sent, sent_nested) > 20
        assert (lost, lost_nested) == (0, 0), f"of {sent} and {sent_nested}"
        assert not was_reset(began, node.peer(three.ada).latest_handshake)

    def test_remove_and_add_in_one_change_starts_a_new_session_at_once(self, three: Three) -> None:
        ada, node = three.ada, three.node
        ada.ping(node.ipv4, "-c", "1")
        before = ada.peer(node).latest_handshake
        assert before is not None
        again = node.as_peer("fd01::/64", at=endpoint("192.0.2.1", PORT))
        ada.change(PeerChange(node.key.public, remove=True), again)
        fresh = ada.peer(node)
        assert (fresh.latest_handshake, fresh.rx_bytes) == (None, 0)
        assert ada.ping(node.ipv4, "-c", "1", "-W", "4")[1] == 1
        after = ada.peer(node).latest_handshake
        assert after is not None
        assert after > before

    def test_a_clock_that_was_set_back_is_refused_until_the_peer_is_made_anew(self, three: Three) -> None:
        """WireGuard takes no initiation that is older than the last one of that peer; `renewals` relies on the rest."""
        node, key, now = three.node, private_key(), time.time()
        peer = PeerChange(key.public, endpoint=endpoint("192.0.2.9", PORT), allowed_ips=networks("10.51.0.9/32"))
        node.change(peer)
        assert answers(three.ada, node, key, now)
        assert answers(three.ada, node, key, now + 1)
        assert not answers(three.ada, node, key, now - 86400)
        found = node.host.do(node.host.backend.read(node.interface)).peers[key.public]
        node.change(PeerChange(key.public, remove=True), anew(found, found.endpoint))
        assert answers(three.ada, node, key, now - 86400)
        node.change(PeerChange(key.public, remove=True))

    def test_a_removed_peer_gets_nothing_through(self, three: Three) -> None:
        ada, node, grace = three.ada, three.node, three.grace
        node.change(PeerChange(grace.key.public, remove=True))
        assert grace.ping(node.ipv4, "-c", "5", "-i", "0.05", "-W", "1")[1] == 0
        assert ada.ping(node.ipv4, "-c", "3", "-i", "0.05") == (3, 3)
        node.change(grace.as_peer(grace.transport, at=grace.direct))
        assert node.ping(grace.ipv4, "-c", "1", "-W", "10")[1] == 1


def answers(asker: Member, node: Member, key: PrivateKey, now: float) -> bool:
    """Whether the node answers a handshake of that key, sent from the asker's host and dated `now`."""

    async def ask() -> bool:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.setblocking(False)
            await loop.sock_connect(plain, (node.underlay, PORT))
            await asyncio.sleep(0.1)  # WireGuard takes no two of one peer within 20 ms
            initiation = Initiation(key, node.key.public, 7, os.urandom(32), now)
            await loop.sock_sendall(plain, initiation.message)
            try:
                async with asyncio.timeout(1):
                    return initiation.answered_by(await loop.sock_recv(plain, 2048))
            except TimeoutError:
                return False

    return asker.host.do(ask())


def packets(capture: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(capture.recv(2048))
        except BlockingIOError:
            return found
