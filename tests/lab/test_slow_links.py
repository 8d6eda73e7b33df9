"""Three gateways whose packets take 300 ms each way: with an election time-out for such links the mesh is calm. With
the default the nodes say what to set, and it can be set."""

from __future__ import annotations

import re
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


def test_with_the_default_the_nodes_say_what_to_set(network: Network) -> None:
    hosts = {name: network.host(name, ipv6=False) for name in ("gw-berlin", "gw-paris", "gw-oslo")}
    first, second, third = hosts.values()
    network.slow(ONE_WAY)
    for host in hosts.values():
        host.start_meshd()
    key = first.meshctl("create", "home")["cluster_key"]
    second.meshctl("--timeout", "60", "join", "-", network.address("gw-berlin"), input=key)
    cluster = Cluster(network, hosts, {})

    def warning() -> dict[str, str] | None:
        found = [one for one in first.meshctl("doctor") if one["check"] == "links of home"]
        return found[0] if found else None

    told = wait_until(warning, 60, "gw-berlin to say that the link is slow")
    assert re.fullmatch(
        r"round trips to gw-paris take [67]\d\d ms: too long for an election time-out of 1 s", told["found"]
    )
    assert told["fix"] == "meshctl nodes timeout 3"
    said = r"round trips to gw-paris take [67]\d\d ms: .* of 1 s; set it: meshctl nodes timeout 3"
    assert re.search(said, first.meshctl_raw("events").stdout), "as they were when it was noticed"
    first.meshctl(*told["fix"].split()[1:])
    wait_until(lambda: warning() is None, 30, "the warning to end")
    third.meshctl("--timeout", "60", "join", "-", network.address("gw-berlin"), input=key)
    wait_until(lambda: cluster.voters(first) == 3, 60, "three to vote")
    took = cluster.add(second)
    print(f"a change with the time-out that was said: {took:.1f} s")
    cluster.check(within=60)  # the third has only just joined: a full copy takes many round trips
