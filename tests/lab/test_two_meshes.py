"""One helper in two meshes: each with its own interface, ports, Redis and names, and neither disturbs the other."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lab.hosts.flood import Flood
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network


@dataclass
class Two:
    """gw-berlin made `home` and `work`; gw-paris is a node and laptop-ada a peer of both."""

    network: Network
    berlin: Host
    paris: Host
    ada: Host

    def meshes(self, host: Host) -> dict[str, Any]:
        return {mesh["name"]: mesh for mesh in host.meshctl("status")["meshes"]}

    def wait_connected(self, host: Host) -> None:
        def states() -> set[str]:
            return {mesh["state"] for mesh in self.meshes(host).values()}

        wait_until(lambda: states() == {"connected"}, 20, f"both meshes of {host.name} to be connected")


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    network = Network()
    try:
        two = Two(network, network.host("gw-berlin"), network.host("gw-paris"), network.host("laptop-ada", nat=True))
        for host in (two.berlin, two.paris, two.ada):
            host.start_meshd()
        for mesh, pools in (
            ("home", []),
            ("work", ["--node-pool", "10.111.0.0/16", "--peer-pool", "10.151.0.0/16"]),
        ):
            key = two.berlin.meshctl("create", mesh, *pools)["cluster_key"]
            port = 9000 if mesh == "home" else 9002  # 9001 is the meshes' own, inside
            two.paris.meshctl("join", "-", f"{network.address('gw-berlin')}:{port}", input=key)
            text = two.berlin.meshctl("--mesh", mesh, "invites", "create", "laptop-ada")["text"]
            two.ada.meshctl("join", "-", "--always-on", "--wait", "15", input=text)
        yield two
    finally:
        network.close()


def test_pools_that_overlap_are_refused(two: Two) -> None:
    done = two.berlin.meshctl_raw("create", "third")
    assert done.returncode == 1
    assert "10.11.0.0/16" in done.stderr
    assert "third" not in two.meshes(two.berlin)


def test_a_mesh_that_can_not_be_here_is_not_asked_to_let_this_machine_in(two: Two) -> None:
    """One of the same name and one with the same pools, by key, invite and request: nobody stays behind in them."""
    oslo = two.network.host("gw-oslo").with_meshd()
    address = two.network.address("gw-oslo")
    for mesh, port, pools, says in (
        ("home", 9000, ["--node-pool", "10.211.0.0/16", "--peer-pool", "10.212.0.0/16"], "is in home already"),
        ("other", 9002, [], "overlaps 10."),
    ):
        key = oslo.meshctl("create", mesh, *pools)["cluster_key"]
        invite = oslo.meshctl("--mesh", mesh, "invites", "create", "laptop-ada")["text"]
        where = f"{address}:{port}"
        for host, arguments, text in (
            (two.paris, ["-", where], key),
            (two.ada, ["--always-on", "-"], invite),
            (two.ada, ["--always-on", "--request", where, "--wait", "5"], None),
        ):
            done = host.meshctl_raw("join", *arguments, input=text)
            assert done.returncode == 1, done.stdout + done.stderr
            assert says in done.stderr
        status = next(one for one in oslo.meshctl("status")["meshes"] if one["name"] == mesh)
        assert [member["name"] for member in status["members"]] == ["gw-oslo"]
        assert oslo.meshctl("--mesh", mesh, "peers", "pending") == []
    for host in (two.paris, two.ada):
        assert set(two.meshes(host)) == {"home", "work"}
        two.wait_connected(host)


def test_each_mesh_has_its_own(two: Two) -> None:
    for host in (two.berlin, two.paris, two.ada):
        two.wait_connected(host)
        assert {mesh["interface"] for mesh in two.meshes(host).values()} == {"home", "work"}
        ports = [host.run(f"wg show {interface} listen-port").stdout.strip() for interface in ("home", "work")]
        assert len(set(ports)) == 2, ports
        for mesh, address in (("home", "10.12.0.1"), ("work", "10.112.0.1")):
            assert address in host.run(["getent", "ahostsv4", f"gw-paris.{mesh}.wg"]).stdout
            if host is not two.paris:
                wait_until(lambda h=host, a=address: h.ping(a, 1), 15, f"gw-paris to answer {host.name} in {mesh}")
    for host in (two.berlin, two.paris):
        assert host.run("pgrep -c redis-server").stdout.strip() == "2"


def test_with_two_meshes_one_must_be_named(two: Two) -> None:
    done = two.paris.meshctl_raw("nodes", "list")
    assert done.returncode == 1
    assert "--mesh" in done.stderr
    assert len(two.paris.meshctl("--mesh", "work", "nodes", "list")) == 2


def test_a_change_in_one_is_none_in_the_other(two: Two) -> None:
    before = two.meshes(two.paris)
    two.paris.meshctl("--mesh", "work", "routes", "add", "203.0.113.0/24")
    after = two.meshes(two.paris)
    assert after["home"]["revision"] == before["home"]["revision"]
    assert after["work"]["revision"] > before["work"]["revision"]
    assert two.ada.meshctl("--mesh", "home", "routes", "list") == []
    two.paris.meshctl("--mesh", "work", "routes", "remove", "203.0.113.0/24")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_both_are_back_after_a_restart_and_no_packet_is_lost(two: Two, number: signal.Signals) -> None:
    with Flood(two.ada, "10.12.0.1") as home, Flood(two.ada, "10.112.0.1") as work:
        two.paris.stop_meshd(number)
        two.paris.start_meshd()
        two.wait_connected(two.paris)
    assert (home.lost, work.lost) == ([], [])


def test_both_are_back_after_a_reboot(two: Two) -> None:
    addresses = {name: mesh["self"]["ipv4"] for name, mesh in two.meshes(two.paris).items()}
    two.paris.power_off()
    two.paris.power_on()
    two.network.attach("gw-paris")
    two.paris.start_meshd()
    two.wait_connected(two.paris)
    assert {name: mesh["self"]["ipv4"] for name, mesh in two.meshes(two.paris).items()} == addresses


def test_one_is_left_without_the_other_noticing(two: Two) -> None:
    two.wait_connected(two.ada)
    wait_until(lambda: two.ada.ping("10.12.0.1", 1), 15, "gw-paris to answer in home")
    with Flood(two.ada, "10.12.0.1") as home:
        for host in (two.ada, two.paris, two.berlin):
            host.meshctl("leave", "work", "--yes")
    assert home.lost == []
    for host in (two.ada, two.paris, two.berlin):
        assert set(two.meshes(host)) == {"home"}
        left = host.run(
            "ip -br link; ip route; nft list tables; ls /run/wireguard /var/lib/meshd; cat /etc/hosts"
        ).stdout
        assert re.search(r"\bwork\b", left) is None
        assert "10.112" not in left
    assert two.paris.run("pgrep -c redis-server").stdout.strip() == "1"
    assert [one["name"] for one in two.ada.meshctl("nodes", "list")] == ["gw-berlin", "gw-paris"]
