"""Routes: everybody who may reaches what is behind a node, and no machine loses a network of its own to one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.conftest import Lab, make_lab
from lab.hosts.flood import Flood
from lab.hosts.host import CommandFailed, Host, wait_until
from lab.hosts.network import Network

OFFICE, PRINTER = "203.0.113.0/24", "203.0.113.9"

UNDER_WAY = 0.3
"""Seconds that an answer takes at most, on a machine that has much to do."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """gw-berlin and gw-paris both stand in front of the office: each has a LAN of that prefix with a printer."""
    network = Network()
    try:
        gateways = [network.host(name) for name in ("gw-oslo", "gw-berlin", "gw-paris")]
        lab = make_lab(network, gateways, [network.host("laptop-ada"), network.host("laptop-grace", nat=True)])
        for gateway in ("gw-berlin", "gw-paris"):
            network.add_lan_host(gateway, OFFICE, PRINTER)
        yield lab
    finally:
        network.close()


def chosen(host: Host) -> str:
    (route,) = host.meshctl("routes", "list")
    return str(route["chosen"])


def offered_by(host: Host) -> list[str]:
    (route,) = host.meshctl("routes", "list")
    return sorted(route["nodes"])


def pings(lab: Lab, gateway: str) -> int:
    """How many the printer behind this gateway received."""
    names, values = lab.network.hosts[f"{gateway}-lan"].run("grep ^Icmp: /proc/net/snmp").stdout.splitlines()
    return int(values.split()[names.split().index("InEchos")])


def is_online(lab: Lab, seen_by: Host, name: str) -> bool:
    return bool(next(one for one in lab.status(seen_by)["members"] if one["name"] == name)["online"])


def test_every_member_reaches_what_is_behind_a_node(lab: Lab) -> None:
    oslo, berlin, _ = lab.gateways
    berlin.meshctl("routes", "add", OFFICE)
    for host in (oslo, *lab.laptops):
        wait_until(lambda h=host: h.ping(PRINTER, 1), 5, f"{host.name} to reach the printer")
        assert f"{OFFICE} dev home" in host.run("ip route").stdout


def test_of_two_that_offer_a_route_one_carries_it_until_it_fails(lab: Lab) -> None:
    oslo, berlin, paris = lab.gateways
    ada = lab.laptops[0]
    paris.meshctl("routes", "add", OFFICE)
    wait_until(lambda: offered_by(ada) == ["gw-berlin", "gw-paris"], 5, "ada to hear of it")
    assert chosen(ada) == "gw-berlin"
    before = pings(lab, "gw-paris")
    assert ada.ping(PRINTER, 5, 0.05) == 5
    assert pings(lab, "gw-paris") == before
    berlin.power_off()
    for host in (ada, oslo):
        wait_until(lambda h=host: chosen(h) == "gw-paris", 15, f"{host.name} to choose gw-paris")
        wait_until(lambda h=host: h.ping(PRINTER, 1), 5, f"{host.name} to reach the printer behind gw-paris")
    assert pings(lab, "gw-paris") > before
    berlin.power_on()
    lab.network.attach("gw-berlin")
    lab.network.hosts.pop("gw-berlin-lan").destroy()
    lab.network.add_lan_host("gw-berlin", OFFICE, PRINTER)
    berlin.start_meshd()
    wait_until(lambda: lab.status(berlin)["state"] == "connected", 20, "gw-berlin to be back")
    for host in (oslo, paris, *lab.laptops):
        wait_until(lambda h=host: is_online(lab, h, "gw-berlin"), 20, f"{host.name} to see gw-berlin")
    assert chosen(ada) == "gw-paris"  # kept: it has not failed
    with pytest.raises(CommandFailed, match=r"gw-paris offers 203\.0\.113\.0/24 already"):
        paris.meshctl("routes", "add", OFFICE)
    counted = {gateway: pings(lab, gateway) for gateway in ("gw-berlin", "gw-paris")}
    with Flood(ada, PRINTER, 0.01) as flood:
        wait_until(lambda: len(flood.answers()) > 50, 10, "pings")
        paris.meshctl("routes", "remove", OFFICE)
        wait_until(lambda: {chosen(host) for host in lab.hosts} == {"gw-berlin"}, 10, "all to choose gw-berlin")
        done = len(flood.answers())
        wait_until(lambda: len(flood.answers()) > done + 50, 10, "pings by gw-berlin")
    by = {gateway: pings(lab, gateway) - count for gateway, count in counted.items()}
    assert sum(by.values()) >= flood.sent, f"of {flood.sent} these reached the printers: {by}"
    # Answers that were under way when ada changed gateways: WireGuard takes a network's packets from one peer alone.
    assert not flood.lost or flood.lost[-1] - flood.lost[0] < UNDER_WAY / 0.01, flood.story()
    seen = pings(lab, "gw-paris")
    for host in lab.laptops:
        wait_until(lambda h=host: h.ping(PRINTER, 1), 5, f"{host.name} to reach the printer behind gw-berlin")
    assert pings(lab, "gw-paris") == seen
    wait_until(lambda: OFFICE not in paris.run("nft list table inet meshd-home").stdout, 5, "gw-paris to carry no more")


@pytest.mark.parametrize("cidr", ["10.11.5.0/24", "10.51.0.0/24", "10.0.0.0/8"])
def test_overlaps_with_the_mesh_are_refused(lab: Lab, cidr: str) -> None:
    with pytest.raises(CommandFailed, match=r"overlaps 10\.(11|51)\.0\.0/16"):
        lab.gateways[0].meshctl("routes", "add", cidr)


def own_route(host: Host, network: str) -> str:
    return host.run(f"ip route show exact {network}").stdout


def check(host: Host, name: str) -> dict[str, str]:
    """What doctor says about it; nothing when it has nothing to say."""
    found = [one for one in host.meshctl("doctor") if one["check"] == name]
    return found[0] if found else {}


def test_a_route_does_not_take_over_a_machines_own_network(lab: Lab) -> None:
    ada = lab.laptops[0]
    ada.run("ip link add br0 type bridge; ip link set br0 up; ip addr add 203.0.113.77/25 dev br0")
    wait_until(lambda: "dev home" not in own_route(ada, OFFICE), 5, "the route to be taken away")
    said = wait_until(lambda: check(ada, f"route {OFFICE}"), 5, "doctor to name the route")
    assert said["state"] == "warning"
    assert "overlaps 203.0.113.0/25, which this machine has on br0" in said["found"]
    assert f"meshctl routes accept {OFFICE}" in said["fix"]
    wait_until(lambda: "is not installed here" in ada.meshctl_raw("events").stdout, 5, "the event of it")
    assert lab.laptops[1].ping(PRINTER, 1) == 1
    ada.meshctl("routes", "accept", OFFICE)
    wait_until(lambda: "dev home" in own_route(ada, OFFICE), 5, "the route that was accepted")
    assert "dev br0" in own_route(ada, "203.0.113.0/25")
    assert check(ada, f"route {OFFICE}") == {}
    ada.meshctl("routes", "ignore", OFFICE)
    wait_until(lambda: own_route(ada, OFFICE) == "", 5, "the route that is ignored to be gone")
    ada.run("ip link del br0")
    assert "is ignored on this machine" in check(ada, f"route {OFFICE}")["found"]
    ada.meshctl("routes", "accept", OFFICE)
    wait_until(lambda: ada.ping(PRINTER, 1), 5, "the printer to answer again")


def test_a_route_that_holds_an_endpoint_is_not_installed(lab: Lab) -> None:
    berlin, ada = lab.gateways[1], lab.laptops[0]
    berlin.meshctl("routes", "add", "198.51.100.0/24")
    said = wait_until(lambda: check(ada, "route 198.51.100.0/24"), 5, "doctor to name the route")
    assert "the endpoint of a member" in said["found"]
    ada.meshctl("routes", "accept", "198.51.100.0/24")
    wait_until(lambda: ada.ping("10.12.0.1", 1), 5, "gw-berlin to answer")
    assert own_route(ada, "198.51.100.0/24") == ""
    berlin.meshctl("routes", "remove", "198.51.100.0/24")
    wait_until(lambda: check(ada, "route 198.51.100.0/24") == {}, 5, "doctor to forget the route")


def test_a_removed_route_leaves_nothing(lab: Lab) -> None:
    lab.gateways[1].meshctl("routes", "remove", OFFICE)
    for host in lab.hosts:
        wait_until(
            lambda h=host: "203.0.113" not in h.run("nft list table inet meshd-home; wg show home").stdout, 5, host.name
        )
    for host in (lab.gateways[0], *lab.laptops):
        wait_until(lambda h=host: own_route(h, OFFICE) == "", 5, f"the route of {host.name} to be gone")
        assert host.ping(PRINTER, 1) == 0
        assert host.meshctl("routes", "list") == []
