"""A machine whose only uplink is IPv6 among others that have both, or IPv4 only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.conftest import Lab, make_lab
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

pytestmark = pytest.mark.quiet


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """gw-berlin creates, with IPv6 alone; laptop-grace has IPv4 alone, behind NAT."""
    network = Network()
    try:
        gateways = [network.host("gw-berlin", ipv4=False), network.host("gw-paris")]
        laptops = [network.host("laptop-ada"), network.host("laptop-eve", ipv4=False)]
        yield make_lab(network, gateways, laptops)
    finally:
        network.close()


@pytest.fixture(scope="module")
def grace(lab: Lab) -> Host:
    """Joins through gw-paris: it can't reach gw-berlin, which commits its admission."""
    grace = lab.network.host("laptop-grace", nat=True)
    grace.start_meshd()
    text = lab.gateways[1].meshctl("invites", "create", "laptop-grace")["text"]
    grace.meshctl("join", "-", "--always-on", "--wait", "15", input=text)
    return grace


def test_the_uplink_is_ipv6_only(lab: Lab) -> None:
    for host in (lab.gateways[0], lab.laptops[1]):
        assert host.run("ip -4 route show default").stdout == ""
        member = lab.status(host)["self"]
        assert member["endpoint"] is None or member["endpoint"].startswith("[2001:db8:")


def test_everybody_reaches_everybody(lab: Lab, grace: Host) -> None:
    hosts = [*lab.hosts, grace]
    for family in ("ipv4", "ipv6"):
        for host in hosts:
            for name, address in lab.addresses(family).items():
                if name != host.name:
                    wait_until(lambda h=host, a=address: h.ping(a, 1), 20, f"{host.name} to reach {name} by {family}")


def test_without_a_common_family_the_way_is_relayed(lab: Lab, grace: Host) -> None:
    berlin = next(one for one in lab.status(grace)["members"] if one["name"] == "gw-berlin")
    assert (berlin["path"], berlin["online"]) == ("relayed", True)


def test_a_change_from_the_far_side_is_committed(lab: Lab, grace: Host) -> None:
    lab.gateways[0].meshctl("peers", "admin", "laptop-grace", "on")
    wait_until(lambda: lab.status(grace)["self"]["admin"], 5, "laptop-grace to know that it is an admin")
    grace.meshctl("routes", "add", "203.0.113.0/24", "--node", "gw-paris")
    eve = lab.laptops[1]
    wait_until(lambda: eve.meshctl("routes", "list"), 5, "laptop-eve to hear of the route")
    assert [route["cidr"] for route in eve.meshctl("routes", "list")] == ["203.0.113.0/24"]
