"""Three nodes of a mesh of 3,000 members, of which 900 are there and watch, 300 at each node: what they cost while
nothing happens, and how soon a change is done when the primary is killed and its 300 go to the other two at once.

The peers are played by `bench.crowd`, on the same two processors as the nodes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import grpc
from lab.cluster import Cluster
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network
from meshproto import client, local_pb2

from bench.crowd import MEMBERS
from bench.figures import Figure
from bench.filled import fill, writable
from bench.processes import cpu_seconds

COUNT = 3000
EACH = 300
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
QUIET = 20.0
"""Seconds in which nothing happens."""


class Peers:
    """Some of the members, at one node."""

    def __init__(self, host: Host, first: int, count: int) -> None:
        self._process = host.popen(
            [str(BIN / "python"), "-m", "bench.crowd", str(first), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        self.answer()

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # `nsenter` hands no signal on


def measure() -> list[Figure]:
    network = Network()
    try:
        cluster = _grown(network)
        try:
            return _measure(cluster)
        except AssertionError:
            print(network.logs(cluster.hosts))
            raise
    finally:
        network.close()


def _grown(network: Network) -> Cluster:
    hosts = {name: network.host(name, ipv6=False) for name in ("gw-berlin", "gw-paris", "gw-oslo")}
    first, *others = hosts.values()
    for host in hosts.values():
        host.start_meshd()
    key = first.meshctl("create", "home")["cluster_key"]
    first.stop_meshd()
    fill(first, COUNT)
    members = first.run(["cat", str(MEMBERS)]).stdout
    first.start_meshd()
    wait_until(lambda: writable(first), 60, "the mesh to be writable")
    for host in others:
        host.run(f"cat >{MEMBERS}", input=members)
        host.meshctl("join", "-", network.address(first.name), input=key, timeout=120)
    cluster = Cluster(network, hosts, {})
    wait_until(lambda: cluster.voters(first) == 3, 60, "three to vote")
    return cluster


def _measure(cluster: Cluster) -> list[Figure]:
    hosts = list(cluster.hosts.values())
    alone = _quiet(cluster)
    there = [Peers(host, number * EACH, EACH) for number, host in enumerate(hosts)]
    for peers in there:
        peers.say("0 0")
    first = [peers.answer()["took"] for peers in there]
    _settle(cluster)
    watched = _quiet(cluster)
    rounds = [_round(cluster, there) for _ in range(ROUNDS)]
    return [
        Figure.of("meshd of a node, nobody else there: processor", "%", alone[0]),
        Figure.of(f"meshd of a node that {EACH} watch: processor", "%", watched[0]),
        Figure.of(f"terms that began in {QUIET:g} s of that", "", [watched[1]]),
        Figure.of(f"until {EACH} that know nothing heard their node", "s", first),
        Figure.of("a change while nothing happens", "s", (one["calm"] for one in rounds)),
        Figure.of("SIGKILL of the primary to the next change that is done", "s", (one["killed"] for one in rounds)),
        Figure.of("until its peers heard another node", "s", (one["moved"] for one in rounds)),
        Figure.of("of these peers, those that were sent everything anew", "", (one["snapshots"] for one in rounds)),
        Figure.of("terms that began", "", (one["terms"] for one in rounds)),
        Figure.of("longest silence that a peer of another node noticed", "s", (one["silence"] for one in rounds)),
    ]


def _settle(cluster: Cluster) -> None:
    hosts = cluster.hosts.values()
    wait_until(lambda: all(cluster.status(host)["writable"] for host in hosts), 120, "all nodes to take changes")


def _quiet(cluster: Cluster) -> tuple[list[float], int]:
    """Percent of a processor that each meshd uses, and the terms that began."""
    hosts = list(cluster.hosts.values())
    epoch = cluster.status(hosts[0])["epoch"]
    before, began = [cpu_seconds(host.meshd_pid()) for host in hosts], time.monotonic()
    time.sleep(QUIET)
    took = time.monotonic() - began
    used = [100 * (cpu_seconds(host.meshd_pid()) - used) / took for host, used in zip(hosts, before, strict=True)]
    return used, cluster.status(hosts[0])["epoch"] - epoch


def _round(cluster: Cluster, there: list[Peers]) -> dict[str, float]:
    hosts = list(cluster.hosts.values())
    old = cluster.primary()
    number, others = hosts.index(old), cluster.others(old)
    half = EACH // 2
    coming = [Peers(host, number * EACH + place * half, half) for place, host in enumerate(others)]
    staying = [there[hosts.index(host)] for host in others]
    for peers in staying:
        peers.say("")
        peers.answer()
    channel, stub = client.connect(Path(f"/proc/{others[0].pid}/root/run/meshd/meshd.sock"))
    with channel:
        calm = _add(stub, cluster)
        before = cluster.status(others[0])
        old.stop_meshd(signal.SIGKILL)
        there[number].end()
        for peers in coming:
            peers.say(f"{before['epoch']} {before['revision']}")
        killed = _add(stub, cluster)
    moved = [peers.answer() for peers in coming]
    for peers in staying:
        peers.say("")
    silence = max(peers.answer()["longest"] for peers in staying)
    after = cluster.status(others[0])
    for peers in coming:
        peers.end()
    old.start_meshd()
    _settle(cluster)
    there[number] = Peers(old, number * EACH, EACH)
    there[number].say(f"{after['epoch']} {after['revision']}")
    there[number].answer()
    _settle(cluster)
    found = {
        "calm": calm,
        "killed": killed,
        "moved": max(one["took"] for one in moved),
        "snapshots": sum(one["snapshots"] for one in moved),
        "terms": after["epoch"] - before["epoch"],
        "silence": silence,
    }
    print(", ".join(f"{name} {value:.2f}" for name, value in found.items()), flush=True)
    return found


def _add(stub: Any, cluster: Cluster) -> float:
    """Seconds until a route is added, asked for again with the same request while nobody knows."""
    cluster.count += 1
    cidr = f"203.0.{cluster.count // 256 + 100}.{cluster.count % 256}/32"
    request = local_pb2.RouteRequest(cidr=cidr, request_id=str(uuid.uuid4()))
    began = time.monotonic()
    while True:
        try:
            stub.AddRoute(request, timeout=30)
            return time.monotonic() - began
        except grpc.RpcError:
            if time.monotonic() - began > 60:
                raise
