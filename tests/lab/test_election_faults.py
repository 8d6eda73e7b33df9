"""An election that ends by a fault of ours begins anew by itself, without meshd being started again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.cluster import TAKEN_OVER, Cluster
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network

pytestmark = pytest.mark.quiet

FAULTY = """
import os
from meshd.cluster.election import machine
right = machine.step
def step(state, event, now):
    if os.path.exists("/run/fault"):
        os.unlink("/run/fault")
        raise RuntimeError("a fault of ours")
    return right(state, event, now)
machine.step = step
from meshd.main import run
run()
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three gateways; where a file /run/fault is made, one step of the election raises."""
    network = Network()
    try:
        hosts = {name: network.host(name, ipv6=False) for name in ("gw-berlin", "gw-paris", "gw-oslo")}
        for host in hosts.values():
            host.start_meshd(program=[str(BIN / "python"), "-c", FAULTY])
        first, *others = hosts.values()
        key = first.meshctl("create", "home")["cluster_key"]
        for host in others:
            host.meshctl("join", "-", network.address("gw-berlin"), input=key)
        made = Cluster(network, hosts, {})
        wait_until(lambda: made.voters(first) == 3, 15, "three to vote")
        yield made
    finally:
        for host in (*network.hosts.values(), network.router):
            host.destroy()  # `close` would find the faults that are made here


def strike(host: Host) -> None:
    host.run("touch /run/fault")
    wait_until(lambda: not host.run("ls /run").stdout.count("fault"), 5, "the fault to happen")


def test_a_fault_in_the_election_of_any_node(cluster: Cluster) -> None:
    primary = cluster.primary()
    pids = {host: host.meshd_pid() for host in cluster.hosts.values()}
    for struck in (cluster.others(primary)[0], primary):
        strike(struck)
        took = cluster.add(cluster.others(struck)[0])
        print(f"first change after a fault in the election of {struck.name}: {took:.2f} s")
        assert took < TAKEN_OVER
        wait_until(lambda h=struck: cluster.status(h)["writable"], 10, f"{struck.name} to be back")
        cluster.add(struck)
        cluster.check()
        assert "internal error in home: election" in struck.meshctl_raw("events").stdout
        assert [one.count("a fault of ours") for one in struck.faults()] == [1]
    assert cluster.primary() is not primary
    assert pids == {host: host.meshd_pid() for host in cluster.hosts.values()}, "a meshd was started again"
