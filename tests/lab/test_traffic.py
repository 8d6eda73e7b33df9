"""Real traffic: not one packet of a flood is lost while everything else in the mesh changes; iperf3 passes."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from lab.conftest import Lab, make_lab
from lab.hosts.flood import Flood, dropped
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

pytestmark = pytest.mark.quiet


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """laptop-ada and laptop-grace end up on a straight path; laptop-grace and laptop-joan, each behind NAT, need a
    relay."""
    network = Network()
    try:
        gateways = [network.host(name) for name in ("gw-berlin", "gw-paris", "gw-oslo")]
        laptops = [network.host("laptop-ada"), *(network.host(f"laptop-{one}", nat=True) for one in ("grace", "joan"))]
        yield make_lab(network, gateways, laptops)
    finally:
        network.close()


@contextmanager
def floods(lab: Lab) -> Iterator[None]:
    """Nothing may be lost between a peer and a node, two nodes, and two peers, straight and relayed, meanwhile."""
    ada, grace, joan = lab.laptops
    addresses = lab.addresses()
    pairs = [
        (ada, "gw-paris"), (lab.gateways[2], "gw-paris"),
        (ada, "laptop-grace"), (grace, "laptop-joan"), (joan, "laptop-grace"),
    ]  # fmt: skip
    for host, name in pairs:
        wait_until(lambda h=host, a=addresses[name]: h.ping(a, 3, 0.05) == 3, 15, f"{host.name} to reach {name}")
    before = {host.name: dropped(host) for host in lab.hosts}
    with ExitStack() as stack:
        running = [(host, name, stack.enter_context(Flood(host, addresses[name]))) for host, name in pairs]
        yield
    for host, name, flood in running:
        print(f"{host.name} to {name}: {len(flood.lost)} of {flood.sent} lost")
    lost = {f"{host.name} to {name}": flood.story() for host, name, flood in running if flood.lost}
    drops = {host.name: set(dropped(host).items()) - set(before[host.name].items()) for host in lab.hosts}
    assert lost == {}, f"{lost}\ndropped by the hosts meanwhile: {drops}"


def relay(lab: Lab) -> tuple[str, str]:
    """How laptop-grace reaches laptop-joan: the path, and the node that carries it as `meshctl peers show` tells; ""
    while that is not known."""
    text = lab.laptops[1].meshctl_raw("peers", "show", "laptop-joan").stdout
    match = re.search(r"(direct|relayed)(?: through (\S+))?", text)
    return (match[1], match[2] or "") if match else ("", "")


@pytest.fixture(scope="module")
def rome(lab: Lab) -> Host:
    return lab.network.host("gw-rome").with_meshd()


@pytest.fixture(scope="module")
def eve(lab: Lab) -> Host:
    return lab.network.host("laptop-eve").with_meshd()


def test_nothing_is_lost_while_a_peer_comes_and_goes(lab: Lab, eve: Host) -> None:
    berlin = lab.gateways[0]
    joan = lab.addresses()["laptop-joan"]
    with floods(lab):
        lab.join_as_peer(eve)
        began = time.monotonic()
        wait_until(lambda: eve.ping(joan, 1), 5, "laptop-eve to reach a peer through a relay")
        print(f"a new peer reaches another one {time.monotonic() - began:.2f} s after its join returned")
        wait_until(lambda: "laptop-eve" in lab.addresses(), 5, "gw-berlin to know laptop-eve")
        berlin.meshctl("peers", "rename", "laptop-eve", "laptop-e")
        berlin.meshctl("peers", "admin", "laptop-e", "on")
        berlin.meshctl("peers", "disable", "laptop-e")
        berlin.meshctl("peers", "enable", "laptop-e")
        wait_until(lambda: eve.ping("10.11.0.1", 1), 20, "laptop-eve to be back")
        eve.meshctl("leave", "home", "--yes")
        lab.join_as_peer(eve)
        wait_until(lambda: "laptop-eve" in lab.addresses(), 5, "gw-berlin to know laptop-eve again")
        berlin.meshctl("peers", "remove", "laptop-eve")
        wait_until(lambda: not eve.ping("10.11.0.1", 1), 5, "laptop-eve to be gone")
        eve.meshctl("leave", "home", "--yes")


def test_nothing_is_lost_while_invites_and_routes_change(lab: Lab) -> None:
    berlin = lab.gateways[0]
    with floods(lab):
        short = berlin.meshctl("invites", "create", "laptop-late", "--expires", "1s")["invite"]["id"]
        revoked = berlin.meshctl("invites", "create", "laptop-never")["invite"]["id"]
        for number in range(4):
            berlin.meshctl("routes", "add", f"203.0.113.{number * 64}/26", "--node", "gw-paris")
        berlin.meshctl("invites", "revoke", revoked)
        for number in range(4):
            berlin.meshctl("routes", "remove", f"203.0.113.{number * 64}/26", "--node", "gw-paris")
        wait_until(lambda: berlin.meshctl("invites", "show", short)["state"] == "expired", 10, "the invite to expire")


def test_nothing_is_lost_while_a_node_comes_and_goes(lab: Lab, rome: Host) -> None:
    with floods(lab):
        for _ in range(2):
            lab.join_as_node(rome)
            wait_until(lambda: lab.status(rome)["state"] == "connected", 15, "gw-rome to be connected")
            for laptop in lab.laptops:
                wait_until(lambda h=laptop: h.ping("10.14.0.1", 1), 15, f"{laptop.name} to reach gw-rome")
            rome.meshctl("leave", "home", "--yes")


def test_nothing_is_lost_while_meshd_restarts(lab: Lab) -> None:
    with floods(lab):
        for number, host in enumerate(lab.hosts):
            host.stop_meshd(signal.SIGKILL if number % 2 else signal.SIGTERM)
            host.start_meshd()
            wait_until(lambda h=host: lab.status(h)["state"] == "connected", 15, f"{host.name} to be connected again")


def test_nothing_is_lost_while_the_relay_changes(lab: Lab) -> None:
    """The relay loses power, another one takes over and is kept; then that one leaves, and nothing is lost."""
    gateways = {host.name: host for host in lab.gateways}
    joan = lab.addresses()["laptop-joan"]
    wait_until(lambda: lab.laptops[1].ping(joan, 1), 15, "laptop-joan to answer")
    way, first = wait_until(lambda: (found := relay(lab))[1] and found, 10, "laptop-grace to know the way")
    assert way == "relayed"
    gateways[first].power_off()
    wait_until(lambda: lab.laptops[1].ping(joan, 1), 15, "laptop-joan to answer through another node")
    gateways[first].power_on()
    lab.network.attach(first)
    gateways[first].start_meshd()
    for host in lab.hosts:
        wait_until(lambda h=host: lab.status(h)["writable"], 20, f"{host.name} to see the primary again")
    way, name = relay(lab)
    assert way == "relayed"
    assert name not in ("", first)
    carrier = gateways[name]
    other = next(host for host in lab.gateways if host.name not in (first, name))
    ada, grace, laptop = lab.laptops
    pairs = [(grace, joan), (laptop, lab.addresses()["laptop-grace"]), (ada, lab.addresses()[other.name])]
    with ExitStack() as stack:
        running = [stack.enter_context(Flood(host, address)) for host, address in pairs]
        carrier.meshctl("leave", "home", "--yes")
        wait_until(lambda: relay(lab)[1] not in ("", name), 5, "another relay")
    key = other.meshctl("key", "show")["cluster_key"]
    carrier.meshctl("join", "-", lab.network.address(other.name), input=key)
    assert [flood.story() for flood in running if flood.lost] == []


def test_iperf3_passes(lab: Lab) -> None:
    """Full packets through the tunnel, direct and relayed."""
    grace = lab.laptops[1]
    for server, name in (
        (lab.gateways[1], "gw-paris"),
        (lab.laptops[0], "laptop-ada"),
        (lab.laptops[2], "laptop-joan"),
    ):
        wait_until(lambda n=name: grace.ping(lab.addresses()[n], 1), 15, f"laptop-grace to reach {name}")
        server.record(["iperf3", "-s", "-1"], "iperf3")
        wait_until(lambda h=server: h.run("ss -Hltn sport = 5201").stdout.strip(), 5, "iperf3 to listen")
        done = grace.run(["iperf3", "-c", lab.addresses()[name], "-t", "2", "-J"])
        rate = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e6
        print(f"laptop-grace to {name}: {rate:.0f} Mbit/s")
        assert rate > 1
