"""Paths between members: straight where that works, relayed where not, and moves that lose nothing."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lab.hosts.host import PATIENCE, Host, wait_until
from lab.hosts.network import Network

pytestmark = pytest.mark.quiet

MARKER = "6d657368746573746d61726b65722121"
"""Sixteen bytes that pings carry, as hexadecimal digits."""


@dataclass
class Paths:
    """Two gateways, one laptop with a public address, two behind NAT routers of their own."""

    network: Network
    berlin: Host
    paris: Host
    ada: Host
    grace: Host
    joan: Host

    def member(self, host: Host, name: str) -> Any:
        (mesh,) = host.meshctl("status")["meshes"]
        return next(one for one in mesh["members"] if one["name"] == name)

    def address(self, name: str) -> str:
        return str(self.member(self.berlin, name)["ipv4"])

    def wait_path(self, host: Host, name: str, path: str, limit: float) -> None:
        wait_until(lambda: self.member(host, name)["path"] == path, limit, f"{host.name} to reach {name} {path}")


@pytest.fixture(scope="module")
def paths() -> Iterator[Paths]:
    network = Network()
    try:
        gateways = [network.host("gw-berlin"), network.host("gw-paris")]
        laptops = [
            network.host("laptop-ada"),
            *(network.host(one, nat=True) for one in ("laptop-grace", "laptop-joan")),
        ]
        for host in [*gateways, *laptops]:
            host.start_meshd()
        key = gateways[0].meshctl("create", "home")["cluster_key"]
        gateways[1].meshctl("join", "-", network.address("gw-berlin"), input=key)
        for host in laptops:
            text = gateways[0].meshctl("invites", "create", host.name)["text"]
            host.meshctl("join", "-", "--always-on", "--wait", "15", input=text)
        yield Paths(network, *gateways, *laptops)
    finally:
        network.close()


def lost(output: str) -> list[int]:
    """The sequence numbers between the first and the last answer that were not answered."""
    seen = {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", output)}
    assert seen, output[-500:]
    return sorted(set(range(min(seen), max(seen) + 1)) - seen)


def flood(host: Host, address: str, name: str) -> Any:
    """A ping every 10 ms in the background, once the address answers."""
    wait_until(lambda: host.ping(address, 1), 15, f"{address} to answer")
    return host.record(["ping", "-i", "0.01", "-s", "200", address], name)


def stop(host: Host, process: Any, name: str) -> str:
    process.terminate()
    process.wait(5)
    return host.recorded(name)


def test_a_session_becomes_straight_without_losing_a_packet(paths: Paths) -> None:
    process = flood(paths.ada, paths.address("laptop-grace"), "straight")
    paths.wait_path(paths.ada, "laptop-grace", "direct", 20)
    paths.wait_path(paths.grace, "laptop-ada", "direct", 5)
    output = stop(paths.ada, process, "straight")
    assert lost(output) == []
    underlay = paths.network.address("laptop-ada")
    assert paths.member(paths.grace, "laptop-ada")["endpoint"] == f"{underlay}:10100"

    def events() -> str:
        return str(paths.grace.meshctl_raw("events").stdout + paths.ada.meshctl_raw("events").stdout)

    wait_until(lambda: "is reached straight at" in events(), 5, "it to be told")


def test_a_straight_path_that_dies_goes_over_a_relay_and_back(paths: Paths) -> None:
    process = flood(paths.grace, paths.address("laptop-ada"), "cut")
    paths.wait_path(paths.grace, "laptop-ada", "direct", 20)
    router, underlay = paths.network.router, paths.network.address("laptop-ada")
    grace = paths.network.address("laptop-grace").rsplit(".", 1)[0] + ".0/24"
    router.run(
        "nft add table ip cut; nft 'add chain ip cut fwd_ { type filter hook forward priority -10; }'; "
        f"nft add rule ip cut fwd_ ip saddr {grace} ip daddr {underlay} drop"
    )
    before = paths.grace.recorded("cut").count("bytes from")
    wait_until(lambda: paths.grace.recorded("cut").count("bytes from") > before + 50, 7, "the relay to carry it")
    paths.wait_path(paths.grace, "laptop-ada", "relayed", 3)
    router.run("nft delete table ip cut")
    paths.wait_path(paths.grace, "laptop-ada", "direct", 30)
    output = stop(paths.grace, process, "cut")
    gap = lost(output)
    assert gap == list(range(gap[0], gap[-1] + 1)), "one gap only: the way back loses nothing"
    assert len(gap) < 600, "six seconds of pings every 10 ms"


def test_behind_two_nats_one_relay_carries_it_and_cannot_read(paths: Paths) -> None:
    address = paths.address("laptop-joan")
    wait_until(lambda: paths.grace.ping(address, 1), 15, "laptop-joan to answer")
    command = ["tcpdump", "--immediate-mode", "-i", "home", "-xx", "-l", "-n", "udp port 10100"]
    relays = [(host, host.record(command, "capture")) for host in (paths.berlin, paths.paris)]
    for host, _ in relays:
        wait_until(lambda h=host: "listening" in h.recorded("capture"), 5, "tcpdump to listen")
    assert paths.grace.run(["ping", "-c", "5", "-i", "0.2", "-p", MARKER, address]).returncode == 0
    assert paths.member(paths.grace, "laptop-joan")["path"] == "relayed"

    def carried() -> int:
        return sum(host.recorded("capture").count("UDP, length") for host, _ in relays)

    # Each packet comes and goes, and each of the five is answered.
    wait_until(lambda: carried() >= 20, 5, "what was carried to be captured")
    for host, process in relays:
        host.send_signal(process, signal.SIGINT)
        process.wait(15 * PATIENCE)
    captures = [re.sub(r"\s|0x[0-9a-f]+:", "", host.recorded("capture")) for host, _ in relays]
    assert sum("UDP,length" in capture for capture in captures) == 1, "one relay carries both directions"
    assert all(MARKER not in capture for capture in captures)


def test_a_relayed_node_is_reached_straight_again(paths: Paths) -> None:
    address = paths.address("gw-paris")
    process = flood(paths.ada, address, "node")
    router, ada, paris = paths.network.router, paths.network.address("laptop-ada"), paths.network.address("gw-paris")
    router.run(
        "nft add table inet cut; nft 'add chain inet cut fwd_ { type filter hook forward priority -10; }'; "
        f"nft add rule inet cut fwd_ ip saddr {ada} ip daddr {paris} drop; "
        f"nft add rule inet cut fwd_ ip6 saddr {paths.network.address6('laptop-ada')} "
        f"ip6 daddr {paths.network.address6('gw-paris')} drop"
    )
    paths.wait_path(paths.ada, "gw-paris", "relayed", 15)
    wait_until(lambda: paths.ada.ping(address, 1), 10, "gw-paris to answer over the relay")
    router.run("nft delete table inet cut")
    seen = paths.ada.recorded("node").count("bytes from")
    paths.wait_path(paths.ada, "gw-paris", "direct", 40)
    output = stop(paths.ada, process, "node")
    answered = [int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", output)]
    tail = answered[seen:]
    assert set(tail) == set(range(tail[0], tail[-1] + 1)), "the way back loses nothing"


def told(paths: Paths, name: str) -> bool:
    """Whether the mesh was told where that host is now."""
    at = f"{name} is reached at {paths.network.address(name)}:10100"
    return at in paths.berlin.meshctl_raw("events").stdout


def test_a_node_that_moves_tells_the_mesh_and_is_reached_there(paths: Paths) -> None:
    paths.network.move("gw-paris")
    wait_until(lambda: told(paths, "gw-paris"), 20, "the mesh to know the new address")
    address = paths.address("gw-paris")
    for host in (paths.berlin, paths.ada, paths.grace):
        wait_until(lambda h=host: h.ping(address, 1), 20, f"gw-paris to answer {host.name}")
    paths.wait_path(paths.ada, "gw-paris", "direct", 30)


def test_a_laptop_that_moves_keeps_its_sessions_and_tells_the_mesh(paths: Paths) -> None:
    address = paths.address("laptop-grace")
    process = flood(paths.ada, address, "move")
    paths.wait_path(paths.ada, "laptop-grace", "direct", 30)
    before = paths.ada.recorded("move").count("bytes from")
    paths.network.move("laptop-ada")
    wait_until(lambda: paths.ada.recorded("move").count("bytes from") > before + 100, 8, "grace to answer again")
    stop(paths.ada, process, "move")
    wait_until(lambda: told(paths, "laptop-ada"), 20, "the mesh to know the new address")
    wait_until(lambda: paths.grace.ping(paths.address("laptop-ada"), 1), 10, "ada to answer at her new place")
