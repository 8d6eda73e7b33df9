"""The primary goes away in every way there is; another takes over, and nothing that was reported done is lost."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

TAKEN_OVER = 8.0
"""Seconds for another primary. The target of issue 3 is far less; the machine that runs this has other things to do."""


@dataclass
class Cluster:
    """A mesh `home` of three gateways."""

    network: Network
    hosts: dict[str, Host]
    done: dict[str, str]  # each route whose addition was reported done, and the host that it is a route of
    count: int = 0

    def status(self, host: Host) -> Any:
        return host.meshctl("status")["meshes"][0]

    def primary(self, *asked: Host) -> Host:
        """The one that all of these hosts call the primary, and that takes changes."""

        def agreed() -> Host | None:
            names = set()
            for host in asked or self.hosts.values():
                status = self.status(host)
                names.add(status["primary"] if status["writable"] else None)
            (name,) = names if len(names) == 1 else (None,)
            return self.hosts[name] if name else None

        found = wait_until(agreed, TAKEN_OVER * 2, "all to have one primary")
        assert isinstance(found, Host)
        return found

    def others(self, *without: Host) -> list[Host]:
        return [host for host in self.hosts.values() if host not in without]

    def add(self, host: Host) -> float:
        """Has a route added there; returns the seconds that it took."""
        self.count += 1
        cidr = f"203.0.{self.count // 256 + 100}.{self.count % 256}/32"
        began = time.monotonic()
        host.meshctl("routes", "add", cidr)
        self.done[cidr] = host.name
        return time.monotonic() - began

    def check(self, *hosts: Host) -> None:
        """Everybody has everything that was reported done, at one revision, within ten seconds."""
        asked = hosts or tuple(self.hosts.values())

        def same() -> bool:
            revisions = {self.status(host)["revision"] for host in asked}
            return len(revisions) == 1

        wait_until(same, 10, "all to have one view")
        for host in asked:
            known = {route["cidr"] for route in host.meshctl("routes", "list")}
            assert self.done.keys() <= known, f"{host.name} lacks {self.done.keys() - known}"

    def partition(self, *inside: Host) -> None:
        """Nothing passes between these hosts and the others."""
        for host in inside:
            for other in self.others(*inside):
                for one, far in ((host, other), (other, host)):
                    address = self.network.address(far.name)
                    one.run(f"ip route add blackhole {address}/32; ip route flush cache")

    def heal(self) -> None:
        for host in self.hosts.values():
            host.run("ip route show type blackhole | while read -r _ a; do ip route del blackhole $a; done")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    network = Network()
    try:
        hosts = {name: network.host(name, ipv6=False) for name in ("gw-berlin", "gw-paris", "gw-oslo")}
        first, *others = hosts.values()
        for host in hosts.values():
            host.start_meshd()
        key = first.meshctl("create", "home")["cluster_key"]
        for host in others:
            host.meshctl("join", "-", network.address("gw-berlin"), input=key)
        cluster = Cluster(network, hosts, {})
        wait_until(
            lambda: sum(member["voter"] for member in cluster.status(first)["members"]) == 3, 15, "three to vote"
        )
        yield cluster
        for host in hosts.values():
            assert "Traceback" not in host.log(), host.log()[-4000:]
    finally:
        network.close()


def test_meshd_of_the_primary_is_killed(cluster: Cluster) -> None:
    old = cluster.primary()
    cluster.add(old)
    survivors = cluster.others(old)
    old.stop_meshd(signal.SIGKILL)
    took = cluster.add(survivors[1])
    print(f"first change after SIGKILL of the primary's meshd: {took:.2f} s")
    assert took < TAKEN_OVER
    new = cluster.primary(*survivors)
    assert new is not old
    old.start_meshd()
    cluster.add(survivors[0])
    cluster.check()
    assert cluster.primary() is new


def test_redis_of_the_primary_is_killed(cluster: Cluster) -> None:
    old = cluster.primary()
    cluster.add(old)
    old.run("kill -9 $(cat /var/lib/meshd/home/redis/server.json | sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/')")
    took = cluster.add(old)
    print(f"first change after SIGKILL of the primary's redis: {took:.2f} s")
    assert took < TAKEN_OVER
    cluster.primary()
    cluster.check()


def test_the_host_of_the_primary_loses_power(cluster: Cluster) -> None:
    old = cluster.primary()
    cluster.add(old)
    survivors = cluster.others(old)
    old.power_off()
    took = cluster.add(survivors[0])
    print(f"first change after the primary's host lost power: {took:.2f} s")
    assert took < TAKEN_OVER
    assert cluster.primary(*survivors) is not old
    cluster.add(survivors[1])
    old.power_on()
    cluster.network.attach(old.name)
    old.start_meshd()
    wait_until(lambda: cluster.status(old)["writable"], 20, f"{old.name} to be back")
    cluster.add(old)
    cluster.check()


def test_a_primary_in_a_minority_refuses_and_the_majority_goes_on(cluster: Cluster) -> None:
    old = cluster.primary()
    majority = cluster.others(old)
    cluster.add(old)
    before = cluster.status(old)["revision"]
    cluster.partition(old)
    began = time.monotonic()
    refused = old.meshctl_raw("routes", "add", "192.0.2.0/28")
    assert refused.returncode in (1, 5), refused.stdout + refused.stderr
    assert time.monotonic() - began < 8
    took = cluster.add(majority[0])
    print(f"first change in the majority: {took:.2f} s after the minority had refused one")
    new = cluster.primary(*majority)
    assert new is not old
    status = cluster.status(old)
    assert not status["writable"]
    assert status["primary"] is None
    assert old.meshctl_raw("routes", "add", "192.0.2.16/28").returncode == 1
    cluster.add(majority[1])
    cluster.heal()
    began = time.monotonic()
    wait_until(lambda: cluster.status(old)["writable"], 20, f"{old.name} to be back")
    cluster.check()
    print(f"one view {time.monotonic() - began:.2f} s after the partition healed")
    assert cluster.status(old)["revision"] > before
    known = {route["cidr"] for route in old.meshctl("routes", "list")}
    assert not known & {"192.0.2.0/28", "192.0.2.16/28"}, "what was refused is there"
    assert cluster.primary() is new


def test_writers_go_on_while_primaries_die(cluster: Cluster) -> None:
    """Several times: who was told that a change is done finds it everywhere; the time without changes is measured."""
    gaps = []
    for _ in range(5):
        old = cluster.primary()
        survivors = cluster.others(old)
        old.stop_meshd(signal.SIGKILL)
        gaps.append(cluster.add(survivors[0]))
        for host in survivors:
            cluster.add(host)
        old.start_meshd()
        wait_until(lambda h=old: cluster.status(h)["writable"], 20, f"{old.name} to be back")
    print(f"time without changes: median {statistics.median(gaps):.2f} s, worst {max(gaps):.2f} s")
    cluster.check()
    assert max(gaps) < TAKEN_OVER


def test_a_node_is_promoted(cluster: Cluster) -> None:
    old = cluster.primary()
    target, asked = cluster.others(old)
    began = time.monotonic()
    asked.meshctl("nodes", "promote", target.name)
    print(f"promoted in {time.monotonic() - began:.2f} s")
    assert cluster.primary() is target
    asked.meshctl("nodes", "promote", target.name)
    cluster.add(old)
    cluster.check()


def test_z_a_primary_hands_over_when_it_stops_and_when_it_leaves(cluster: Cluster) -> None:
    old = cluster.primary()
    survivors = cluster.others(old)
    old.stop_meshd()
    took = cluster.add(survivors[0])
    print(f"first change after the primary's meshd was stopped: {took:.2f} s")
    old.start_meshd()
    wait_until(lambda: cluster.status(old)["writable"], 20, f"{old.name} to be back")
    leaving = cluster.primary()
    rest = cluster.others(leaving)
    left = leaving.meshctl_raw("leave", "home", "--yes")
    assert left.returncode == 0, left.stderr
    assert "stays" not in left.stdout + left.stderr
    members = cluster.status(rest[0])["members"]
    assert {member["name"] for member in members} == {host.name for host in rest}
    assert sum(member["voter"] for member in members) == 2
    cluster.add(rest[1])
    cluster.done = {cidr: name for cidr, name in cluster.done.items() if name != leaving.name}
    cluster.check(*rest)
    assert {route["cidr"] for route in rest[0].meshctl("routes", "list")} == cluster.done.keys()
