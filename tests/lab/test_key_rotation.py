"""A new cluster key: the old one lets nobody in at once, every node has the new one, also one that was away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.conftest import Lab, make_lab
from lab.hosts.flood import Flood
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

pytestmark = pytest.mark.quiet


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    network = Network()
    try:
        gateways = [network.host(name) for name in ("gw-berlin", "gw-paris", "gw-oslo")]
        yield make_lab(network, gateways, [network.host("laptop-ada")])
    finally:
        network.close()


def key(host: Host) -> str:
    return str(host.meshctl("key", "show")["cluster_key"])


def test_the_old_key_is_locked_out_at_once_and_nobody_loses_a_packet(lab: Lab) -> None:
    berlin, paris, oslo = lab.gateways
    old = key(berlin)
    oslo.power_off()
    eve = lab.network.host("gw-eve").with_meshd()
    # Each member was connected once one node answered it.
    wait_until(lambda: lab.laptops[0].ping("10.12.0.1", 1), 10, "laptop-ada to reach gw-paris")
    with Flood(lab.laptops[0], "10.12.0.1", 0.01) as flood:
        wait_until(lambda: len(flood.answers()) > 20, 10, "pings")
        new = str(paris.meshctl("key", "rotate")["cluster_key"])
        for gateway in ("gw-berlin", "gw-paris"):
            done = eve.meshctl_raw("--timeout", "10", "join", "-", lab.network.address(gateway), input=old)
            assert done.returncode != 0
            assert "the cluster key is wrong, or was rotated" in done.stderr
        wait_until(lambda: key(berlin) == new, 5, "gw-berlin to have the new key")
        eve.meshctl("join", "-", lab.network.address("gw-berlin"), input=new)
        done = len(flood.answers())
        wait_until(lambda: len(flood.answers()) > done + 20, 10, "pings after it")
    assert flood.lost == []
    assert new != old
    assert key(eve) == new


def test_a_node_that_was_away_gets_it_and_can_lead(lab: Lab) -> None:
    berlin, paris, oslo = lab.gateways
    new = key(paris)
    lab.network.hosts["gw-oslo"].power_on()
    lab.network.attach("gw-oslo")
    oslo.start_meshd()
    wait_until(lambda: key(oslo) == new, 30, "gw-oslo to have the new key")
    wait_until(lambda: lab.status(oslo)["writable"], 20, "gw-oslo to be in step")
    berlin.meshctl("nodes", "promote", "gw-oslo")
    mary = lab.network.host("gw-mary").with_meshd()
    mary.meshctl("join", "-", lab.network.address("gw-oslo"), input=new)
    assert key(mary) == new
    mary.meshctl("leave", "home", "--yes")


def test_a_removed_node_takes_a_worthless_key_with_it(lab: Lab) -> None:
    paris = lab.gateways[1]
    eve = lab.network.hosts["gw-eve"]
    known = key(eve)
    eve.power_off()
    paris.meshctl("nodes", "remove", "gw-eve")
    wait_until(lambda: key(paris) != known, 5, "a new key on gw-paris")
    wait_until(lambda: key(lab.gateways[0]) == key(paris), 5, "gw-berlin to have it, too")
    bob = lab.network.host("gw-bob").with_meshd()
    done = bob.meshctl_raw("--timeout", "10", "join", "-", lab.network.address("gw-berlin"), input=known)
    assert "the cluster key is wrong, or was rotated" in done.stderr
    assert bob.meshctl("status")["meshes"] == []


def test_peers_have_no_key_to_rotate(lab: Lab) -> None:
    done = lab.laptops[0].meshctl_raw("key", "rotate")
    assert done.returncode == 1
    assert "peers don't have the cluster key" in done.stderr
