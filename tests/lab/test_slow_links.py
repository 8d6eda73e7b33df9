"""Three gateways whose packets take 300 ms each way: with an election time-out for such links the mesh is calm."""

from __future__ import annotations

import statistics
import time

import pytest
from lab.cluster import Cluster
from lab.hosts.host import wait_until
from lab.hosts.network import Network

pytestmark = [pytest.mark.quiet, pytest.mark.timeout(600)]

ONE_WAY = 0.3
CALM = 60.0
"""Seconds in which nobody is elected."""


def test_a_mesh_over_slow_links_forms_takes_changes_and_elects_nobody(network: Network) -> None:
    hosts = {name: network.host(name, ipv6=False) for name in ("gw-berlin", "gw-paris", "gw-oslo")}
    first, *others = hosts.values()
    network.slow(ONE_WAY)
    for host in hosts.values():
        host.start_meshd()
    key = first.meshctl("create", "home", "--election-timeout", "4")["cluster_key"]
    for host in others:
        host.meshctl("--timeout", "60", "join", "-", network.address("gw-berlin"), input=key)
    cluster = Cluster(network, hosts, {})
    wait_until(lambda: cluster.voters(first) == 3, 60, "three to vote")
    cluster.add(others[0])
    epoch = cluster.status(first)["epoch"]

    took = []
    began = time.monotonic()
    while time.monotonic() - began < CALM:
        took += [cluster.add(host) for host in hosts.values()]
        for host in hosts.values():
            status = cluster.status(host)
            assert (status["epoch"], status["primary"]) == (epoch, "gw-berlin"), status
    print(f"{len(took)} changes: median {statistics.median(took):.1f} s, worst {max(took):.1f} s")
    cluster.check()

    first.power_off()
    began = time.monotonic()
    wait_until(lambda: cluster.status(others[1])["primary"] not in (None, "gw-berlin"), 60, "another primary")
    print(f"another primary after the first lost power: {time.monotonic() - began:.1f} s")
    wait_until(lambda: cluster.status(others[1])["writable"], 60, "a primary that takes changes")
