"""What the firewall table lets through, with real packets."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from meshd.dataplane.desired import Desired
from meshd.dataplane.foreign import findings, packets, read_findings

from .meshes import REDEEM, REDIS, Pair, pair
from .namespaces import Host

pytestmark = [
    pytest.mark.root,
    # wireguard-go is meant to outlive the object that started it.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]

SERVE = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), family=int(sys.argv[3]))
print("ready", flush=True)
while True:
    connection, source = listener.accept()
    connection.sendall(source[0].encode())
    connection.close()
"""
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2) as connection:
        print(connection.recv(100).decode())
except OSError as error:
    print(type(error).__name__)
"""


@contextmanager
def serving(host: Host, address: str, port: int) -> Iterator[None]:
    family = "10" if ":" in address else "2"
    process = host.start("/usr/bin/python3", "-c", SERVE, address, str(port), family)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        yield
    finally:
        process.kill()
        process.communicate()


def ask(host: Host, address: str, port: int) -> str:
    """The address that the server saw, or the error's name."""
    return host.run("/usr/bin/python3", "-c", ASK, address, str(port)).strip()


def pings(host: Host, address: str) -> bool:
    command = ["ip", "netns", "exec", host.name, "ping", "-c", "2", "-i", "0.2", "-W", "1", address]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def both(hosts: dict[str, Host]) -> Pair:
    made = pair()
    hosts["gateway"].do(hosts["gateway"].network.apply(made.node))
    hosts["laptop"].do(hosts["laptop"].network.apply(made.peer))
    hosts["laptop"].run("ping", "-c", "1", "-W", "10", "10.1.0.1")
    return made


def apply(host: Host, desired: Desired, **firewall: object) -> None:
    wanted = replace(desired.firewall, **firewall)  # type: ignore[arg-type]  # fields of DesiredFirewall
    host.do(host.network.apply(replace(desired, firewall=wanted)))


def test_a_host_behind_a_node_sees_the_nodes_address(hosts: dict[str, Host], both: Pair) -> None:
    with serving(hosts["lan"], "10.12.3.2", 8080):
        assert ask(hosts["laptop"], "10.12.3.2", 8080) == "10.12.3.1"
        apply(hosts["gateway"], both.node, masquerade_to=frozenset())
        hosts["lan"].ip("route", "add", "10.51.0.0/16", "via", "10.12.3.1")
        assert ask(hosts["laptop"], "10.12.3.2", 8080) == "10.51.0.9"
        apply(hosts["gateway"], both.node, forward_to=frozenset(), masquerade_to=frozenset())
        assert ask(hosts["laptop"], "10.12.3.2", 8080) == "TimeoutError"


def test_an_exit_node_forwards_anywhere_but_lets_nobody_in(hosts: dict[str, Host], both: Pair) -> None:
    everywhere = frozenset({ip_network("0.0.0.0/0"), ip_network("::/0")})
    apply(hosts["gateway"], both.node, forward_to=everywhere, masquerade_to=everywhere)
    with serving(hosts["lan"], "10.12.3.2", 8080), serving(hosts["laptop"], "10.51.0.9", 8081):
        assert ask(hosts["laptop"], "10.12.3.2", 8080) == "10.12.3.1"
        hosts["lan"].ip("route", "add", "10.51.0.0/16", "via", "10.12.3.1")
        assert ask(hosts["lan"], "10.51.0.9", 8081) == "TimeoutError"


def test_a_host_behind_a_node_reaches_members_when_its_network_is_offered(hosts: dict[str, Host], both: Pair) -> None:
    hosts["lan"].ip("route", "add", "10.51.0.0/16", "via", "10.12.3.1")
    with serving(hosts["laptop"], "10.51.0.9", 8081):
        assert ask(hosts["lan"], "10.51.0.9", 8081) == "10.12.3.2"
        apply(hosts["gateway"], both.node, forward_to=frozenset(), masquerade_to=frozenset())
        assert ask(hosts["lan"], "10.51.0.9", 8081) == "TimeoutError"


def test_only_nodes_reach_redis(hosts: dict[str, Host], both: Pair) -> None:
    for address, peer in (("10.1.0.1", "10.51.0.9"), ("fd00:1::1", "fd00:1::9")):
        with serving(hosts["gateway"], address, REDIS):
            assert ask(hosts["laptop"], address, REDIS) == "ConnectionRefusedError"
            assert ask(hosts["gateway"], address, REDIS) == address
            apply(hosts["gateway"], both.node, nodes=frozenset({ip_address(peer)}))
            assert ask(hosts["laptop"], address, REDIS) == peer
            apply(hosts["gateway"], both.node)


def test_an_open_invite_reaches_the_redeem_port_and_nothing_else(hosts: dict[str, Host], both: Pair) -> None:
    guests = frozenset({ip_address("10.51.0.9"), ip_address("fd00:1::9")})
    with (
        serving(hosts["gateway"], "10.1.0.1", REDEEM),
        serving(hosts["gateway"], "10.1.0.1", 9001),
        serving(hosts["lan"], "10.12.3.2", REDEEM),
    ):
        assert ask(hosts["laptop"], "10.1.0.1", 9001) == "10.51.0.9"
        apply(hosts["gateway"], both.node, temporary=guests)
        assert ask(hosts["laptop"], "10.1.0.1", REDEEM) == "10.51.0.9"
        assert ask(hosts["laptop"], "10.1.0.1", 9001) == "TimeoutError"
        assert ask(hosts["laptop"], "10.12.3.2", REDEEM) == "TimeoutError"
        assert not pings(hosts["laptop"], "10.1.0.1")
        assert not pings(hosts["laptop"], "fd00:1::1")
        apply(hosts["gateway"], both.node)
        assert pings(hosts["laptop"], "10.1.0.1")


def test_overlay_addresses_are_not_reached_from_outside(hosts: dict[str, Host], both: Pair) -> None:
    hosts["lan"].ip("route", "add", "10.1.0.1", "via", "10.12.3.1")
    assert not pings(hosts["lan"], "10.1.0.1")
    assert pings(hosts["lan"], "10.12.3.1")
    assert pings(hosts["gateway"], "10.1.0.1")
    hosts["gateway"].run("nft", "delete", "table", "inet", f"meshd-{both.node.interface}")
    assert pings(hosts["lan"], "10.1.0.1")


def test_a_peer_forwards_nothing(hosts: dict[str, Host], both: Pair) -> None:
    """With forwarding on for reasons of its own, as on a laptop with Docker: `gateway` takes the peer's part."""
    gateway, lan = hosts["gateway"], hosts["lan"]
    hosts["lan"].ip("route", "add", "10.51.0.0/16", "via", "10.12.3.1")
    with serving(lan, "10.12.3.2", 8080), serving(hosts["laptop"], "10.51.0.9", 8081):
        assert ask(hosts["laptop"], "10.12.3.2", 8080) == "10.12.3.1"
        apply(gateway, both.node, transport_prefix=None)
        assert ask(hosts["laptop"], "10.12.3.2", 8080) == "TimeoutError"
        assert ask(lan, "10.51.0.9", 8081) == "TimeoutError"


def test_doctor_sees_a_foreign_policy_of_drop_and_not_our_own_table(hosts: dict[str, Host], both: Pair) -> None:
    host = hosts["gateway"]
    wanted = packets(both.node.interface, both.node.listen_port)

    async def read() -> list[str]:
        return [one.describe() for one in read_findings(wanted)]

    assert host.do(read()) == []
    host.run("nft", "add table inet theirs")
    host.run("nft", "add chain inet theirs input { type filter hook input priority 0; policy drop; }")
    assert len(host.do(read())) == 2
    host.run("nft", f"add rule inet theirs input udp dport {both.node.listen_port} accept")
    host.run("nft", f'add rule inet theirs input iifname "{both.node.interface}" accept')
    assert host.do(read()) == []
    assert findings(None, wanted) == []
