"""Restarts: the tunnel is up before the control plane answers, and whoever comes back is who it was."""

from __future__ import annotations

import signal

import pytest
from lab.conftest import Lab
from lab.hosts.host import Host, wait_until

pytestmark = pytest.mark.quiet


def reboot(lab: Lab, *hosts: Host) -> None:
    for host in hosts:
        host.power_off()
    for host in hosts:
        host.power_on()
        lab.network.attach(host.name)
    for host in hosts:
        host.start_meshd()


def test_a_laptop_reboots_while_no_meshd_answers(lab: Lab) -> None:
    """The nodes' tunnels are up, their helpers are not: the laptop comes back from its own files."""
    ada, grace = lab.laptops
    before = lab.status(ada)["self"]
    addresses = lab.addresses()
    for host in (*lab.gateways, grace):
        host.stop_meshd()
    reboot(lab, ada)
    for name in ("gw-berlin", "gw-paris", "gw-oslo"):
        wait_until(lambda n=name: ada.ping(addresses[n], 1), 10, f"laptop-ada to reach {name}")
    status = lab.status(ada)
    assert {key: status["self"][key] for key in ("id", "ipv4", "ipv6", "public_key")} == {
        key: before[key] for key in ("id", "ipv4", "ipv6", "public_key")
    }
    assert not status["writable"]
    ask = ["getent", "ahostsv4", "gw-paris.home.wg"]
    wait_until(lambda: "10.12.0.1" in ada.run(ask, check=False).stdout, 5, "its names")
    for host in (*lab.gateways, grace):
        host.start_meshd()
    for host in lab.hosts:
        wait_until(lambda h=host: lab.status(h)["state"] == "connected", 20, f"{host.name} to be connected")
    wait_until(lambda: lab.status(ada)["writable"], 10, "laptop-ada to see the control plane")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_helpers_restart_without_the_primary(lab: Lab, number: signal.Signals) -> None:
    """Nobody can change anything, everybody reaches everybody; then the primary is back and all is well."""
    berlin, paris, _ = lab.gateways
    ada = lab.laptops[0]
    addresses = lab.addresses()
    berlin.stop_meshd(number)
    for host in (paris, ada):
        host.stop_meshd(number)
        host.start_meshd()
        for name in ("gw-berlin", "gw-oslo"):
            wait_until(lambda h=host, n=name: h.ping(addresses[n], 1), 10, f"{host.name} to reach {name}")
    wait_until(lambda: ada.ping(addresses["laptop-grace"], 1), 20, "laptop-ada to reach laptop-grace")
    berlin.start_meshd()
    wait_until(lambda: lab.status(ada)["writable"], 20, "laptop-ada to see a primary again")
    paris.meshctl("routes", "add", "203.0.113.0/24")
    paris.meshctl("routes", "remove", "203.0.113.0/24")


def test_everything_loses_power_at_once(lab: Lab) -> None:
    before = {host.name: lab.status(host) for host in lab.hosts}
    reboot(lab, *lab.hosts)
    for host in lab.hosts:
        wait_until(lambda h=host: lab.status(h)["state"] == "connected", 30, f"{host.name} to be connected")
        wait_until(lambda h=host: lab.status(h)["writable"], 20, f"{host.name} to see the primary")
    for host in lab.hosts:
        epoch = before[host.name]["epoch"]
        wait_until(lambda h=host, e=epoch: lab.status(h)["epoch"] > e, 10, f"{host.name} to be in a new epoch")
        status = lab.status(host)
        assert status["self"]["ipv4"] == before[host.name]["self"]["ipv4"]
        assert len(status["members"]) == 5
    addresses = lab.addresses()
    for host in lab.hosts:
        for name, address in addresses.items():
            if name != host.name:
                wait_until(lambda h=host, a=address: h.ping(a, 1), 20, f"{host.name} to reach {name}")
