"""From SIGKILL of the primary's meshd to the next change that is reported done at a node that is left, and the packets
that are lost between the nodes meanwhile.

The change is sent at once, over the local socket, and waits for the next primary. The killed one is started again and
followed for a while before the next round.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

from lab.cluster import Cluster, three_gateways
from lab.hosts.flood import Flood
from lab.hosts.host import Host, wait_until
from meshproto import client, local_pb2

from bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "50"))


def measure() -> list[Figure]:
    with three_gateways() as cluster, ExitStack() as stack:
        hosts = list(cluster.hosts.values())
        first, second, third = hosts
        addresses = {member["name"]: member["ipv4"] for member in cluster.status(first)["members"]}
        floods = [
            stack.enter_context(Flood(host, addresses[other.name]))
            for host, other in ((first, second), (second, third), (third, first))
        ]
        rounds = [_round(cluster, number) for number in range(ROUNDS)]
        stack.close()
        for one in floods:
            if one.lost:
                print(one.story())
        cluster.check()
    took = sorted(killed for _, killed in rounds)
    return [
        Figure.of("SIGKILL of the primary to the next change that is done", "ms", took),
        Figure.of("of these, the 99th percentile", "ms", [took[int(len(took) * 0.99)]]),
        Figure.of("pings sent between the nodes meanwhile, 100 a second", "", [sum(one.sent for one in floods)]),
        Figure.of("of these lost", "", [sum(len(one.lost) for one in floods)]),
        Figure.of("a change while nothing happens", "ms", (calm for calm, _ in rounds)),
    ]


def _round(cluster: Cluster, number: int) -> tuple[float, float]:
    """Milliseconds of a change while nothing happens, and of the one after the kill."""
    old = cluster.primary()
    survivor = cluster.others(old)[number % 2]
    channel, stub = client.connect(survivor.socket)
    with channel:
        calm = _add(stub, cluster, survivor)
        old.stop_meshd(signal.SIGKILL)
        took = _add(stub, cluster, survivor)
    old.start_meshd()
    wait_until(lambda: cluster.status(old)["writable"], 20, f"{old.name} to be back")
    return calm, took


def _add(stub: object, cluster: Cluster, host: Host) -> float:
    """Milliseconds until a route is added there."""
    cluster.count += 1
    cidr = f"203.0.{cluster.count // 256 + 100}.{cluster.count % 256}/32"
    began = time.monotonic()
    stub.AddRoute(local_pb2.RouteRequest(cidr=cidr), timeout=30)  # type: ignore[attr-defined]  # made by grpcio
    cluster.done[cidr] = host.name
    return (time.monotonic() - began) * 1000
