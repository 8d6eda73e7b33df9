"""Every node is gone: peers that can reach each other go on, also after their own reboots, and say since when."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

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
        gateways = [network.host(name) for name in ("gw-berlin", "gw-paris")]
        yield make_lab(network, gateways, [network.host("laptop-ada"), network.host("laptop-grace")])
    finally:
        network.close()


def member(lab: Lab, host: Host, name: str) -> Any:
    return next(one for one in lab.status(host)["members"] if one["name"] == name)


def reboot(lab: Lab, *hosts: Host) -> None:
    for host in hosts:
        host.power_off()
    boot(lab, *hosts)


def boot(lab: Lab, *hosts: Host) -> None:
    for host in hosts:
        host.power_on()
        lab.network.attach(host.name)
        host.start_meshd()


def test_a_straight_session_does_not_notice(lab: Lab) -> None:
    ada, grace = lab.laptops
    address = lab.addresses()["laptop-grace"]
    wait_until(lambda: ada.ping(address, 1), 20, "laptop-ada to reach laptop-grace")
    wait_until(
        lambda: ada.ping(address, 1) and member(lab, ada, "laptop-grace")["path"] == "direct", 20, "a straight path"
    )
    # The answers, too, or they went with the relay.
    wait_until(lambda: member(lab, grace, "laptop-ada")["path"] == "direct", 20, "a straight path back")
    with Flood(ada, address, 0.02) as flood:
        wait_until(lambda: len(flood.answers()) > 20, 10, "pings")
        for gateway in lab.gateways:
            gateway.power_off()
        wait_until(lambda: lab.status(ada)["state"] == "stale", 15, "laptop-ada to say that it is stale")
        wait_until(lambda: lab.status(grace)["state"] == "stale", 15, "laptop-grace to say that it is stale")
    assert flood.lost == []
    status = lab.status(ada)
    assert re.fullmatch(r"no answer from gw-berlin, gw-paris for \d+ s", status["reason"])
    assert not status["writable"]
    wait_until(lambda: not member(lab, ada, "gw-berlin")["online"], 10, "laptop-ada to say that gw-berlin is gone")
    assert member(lab, ada, "laptop-grace")["online"]


@pytest.mark.parametrize("who", ["laptop-ada", "both"])
def test_after_reboots_they_find_each_other_by_themselves(lab: Lab, who: str) -> None:
    ada, grace = lab.laptops
    known = {one["name"]: one["ipv4"] for one in lab.status(grace)["members"]}
    reboot(lab, *([ada] if who == "laptop-ada" else [ada, grace]))
    assert {one["name"]: one["ipv4"] for one in lab.status(ada)["members"]} == known
    wait_until(lambda: ada.ping(known["laptop-grace"], 1), 30, "laptop-ada to reach laptop-grace")
    wait_until(lambda: grace.ping(known["laptop-ada"], 1), 10, "laptop-grace to reach laptop-ada")
    wait_until(lambda: member(lab, ada, "laptop-grace")["path"] == "direct", 10, "laptop-ada to know how")
    wait_until(lambda: "gw-paris.home.wg" in ada.run("cat /etc/hosts").stdout, 5, "its names")


def test_the_nodes_come_back_and_all_is_as_before(lab: Lab) -> None:
    boot(lab, *lab.gateways)
    for host in lab.hosts:
        wait_until(lambda h=host: lab.status(h)["state"] == "connected", 30, f"{host.name} to be connected")
        wait_until(lambda h=host: lab.status(h)["writable"], 20, f"{host.name} to see the primary")
    ada = lab.laptops[0]
    for name, address in lab.addresses().items():
        if name != "laptop-ada":
            wait_until(lambda a=address: ada.ping(a, 1), 20, f"laptop-ada to reach {name}")
