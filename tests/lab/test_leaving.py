"""However a machine leaves, its network, files and processes are as they were before it joined."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from lab.conftest import Lab
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

OFFICE = "203.0.113.0/24"


def prepare(host: Host) -> dict[str, str]:
    """A machine with things of its own that the mesh must not touch for good."""
    host.run(
        "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter; "
        "nft add table inet filter; nft 'add chain inet filter input { type filter hook input priority 0; }'; "
        "nft add rule inet filter input ct state invalid drop; "
        "ip link add br0 type bridge; ip link set br0 up; ip addr add 192.0.2.1/25 dev br0; "
        "ip route add 192.0.2.128/25 via 192.0.2.2 dev br0; ip rule add from 192.0.2.0/25 lookup 77 pref 500; "
        "echo '192.0.2.2 printer # of the office' >> /etc/hosts"
    )
    return host.network_state()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """gw-berlin has the mesh and stays; gw-paris and laptop-ada come and go."""
    network = Network()
    try:
        berlin = network.host("gw-berlin").with_meshd()
        berlin.meshctl("create", "home")
        yield Lab(network, [berlin, network.host("gw-paris")], [network.host("laptop-ada")])
    finally:
        network.close()


@pytest.fixture(scope="module")
def before(lab: Lab) -> dict[str, dict[str, str]]:
    return {host.name: prepare(host) for host in (lab.gateways[1], lab.laptops[0])}


@pytest.fixture
def joined(lab: Lab, before: dict[str, dict[str, str]]) -> Iterator[tuple[Host, Host]]:
    """gw-paris and laptop-ada as members that did something; afterwards everything must be as before."""
    berlin, paris, ada = *lab.gateways, *lab.laptops
    for host in (paris, ada):
        host.start_meshd()
    lab.join_as_node(paris)
    lab.join_as_peer(ada)
    paris.meshctl("routes", "add", OFFICE)
    ada.meshctl("wait", "--timeout", "15")
    wait_until(lambda: OFFICE in ada.run("ip route").stdout, 5, "the route on laptop-ada")
    assert paris.network_state() != before["gw-paris"]
    yield paris, ada
    left = {host.name: host.meshctl("status")["meshes"] for host in (paris, ada)}
    for host in (paris, ada):
        host.stop_meshd()
    assert left == {"gw-paris": [], "laptop-ada": []}
    for host in (paris, ada):
        found = host.network_state()
        assert found == before[host.name], {
            name: sorted(set(text.splitlines()) ^ set(before[host.name][name].splitlines()))
            for name, text in found.items()
            if text != before[host.name][name]
        }
    assert [one["name"] for one in lab.status(berlin)["members"]] == ["gw-berlin"]


def leave(*hosts: Host) -> list[str]:
    return [host.meshctl_raw("leave", "home", "--yes").stdout for host in hosts]


def test_by_leaving(joined: tuple[Host, Host]) -> None:
    leave(*joined)


def test_after_meshd_was_killed(joined: tuple[Host, Host]) -> None:
    for host in joined:
        host.stop_meshd(signal.SIGKILL)
        host.start_meshd()
    leave(*joined)


def test_after_everything_was_killed(joined: tuple[Host, Host]) -> None:
    for host in joined:
        host.stop_meshd(signal.SIGKILL)
        host.run("pkill -9 wireguard-go; pkill -9 redis-server", check=False)
        host.start_meshd()
    leave(*joined)


def test_after_down(joined: tuple[Host, Host], before: dict[str, dict[str, str]], lab: Lab) -> None:
    """A member that is down has its identity and nothing else; it leaves without telling, so others remove it."""
    for host in joined:
        host.meshctl("down", "home")
        found = host.network_state()
        for name in ("links", "addresses", "routes", "rules", "nftables", "sysctls", "hosts"):
            assert found[name] == before[host.name][name], name
    for host, text in zip(joined, leave(*joined), strict=True):
        assert f"{host.name} stays in the member list of home" in text
    berlin = lab.gateways[0]
    wait_until(lambda: not berlin.ping("10.12.0.1", 1), 10, "gw-paris to be away")
    wait_until(
        lambda: [one["name"] for one in lab.status(berlin)["members"] if one["online"]] == ["gw-berlin"], 15, "it"
    )
    assert (lab.status(berlin)["state"], lab.status(berlin)["writable"]) == ("connected", True), "the older of a pair"
    for host in joined:
        berlin.meshctl("peers" if host in lab.laptops else "nodes", "remove", host.name)


def test_after_being_removed(joined: tuple[Host, Host], lab: Lab) -> None:
    paris, ada = joined
    lab.gateways[0].meshctl("peers", "remove", "laptop-ada")
    lab.gateways[0].meshctl("nodes", "remove", "gw-paris")
    wait_until(lambda: not ada.ping("10.11.0.1", 1), 5, "laptop-ada to be out")
    leave(paris, ada)


def test_with_nobody_reachable(joined: tuple[Host, Host], lab: Lab) -> None:
    """The uplink of gw-berlin is cut: the others clean up all the same and name the records that stay behind."""
    router = lab.network.router
    underlay = lab.network.address("gw-berlin"), lab.network.address6("gw-berlin")
    router.run("nft add table inet cut; nft 'add chain inet cut fwd_ { type filter hook forward priority -10; }'")
    for version, address in zip(("ip", "ip6"), underlay, strict=True):
        router.run(f"nft add rule inet cut fwd_ {version} daddr {address} drop")
    said = leave(*joined)
    router.run("nft delete table inet cut")
    for host, text in zip(joined, said, strict=True):
        assert f"{host.name} stays in the member list of home" in text
        lab.gateways[0].meshctl("peers" if host in lab.laptops else "nodes", "remove", host.name)


def test_the_last_node_leaves(network: Network) -> None:
    berlin = network.host("gw-berlin")
    before = prepare(berlin)
    berlin.start_meshd()
    berlin.meshctl("create", "home")
    berlin.meshctl("routes", "add", OFFICE)
    berlin.meshctl("invites", "create", "laptop-ada")
    leave(berlin)
    berlin.stop_meshd()
    assert berlin.network_state() == before
