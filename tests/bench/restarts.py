"""Packets that are lost while helpers restart: 100 pings a second between three gateways, while their meshds are
stopped or killed and started again in turn."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

from lab.cluster import three_gateways
from lab.hosts.flood import Flood
from lab.hosts.host import wait_until

from bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "20"))


def measure() -> list[Figure]:
    with three_gateways() as cluster, ExitStack() as stack:
        hosts = list(cluster.hosts.values())
        first, second, third = hosts
        addresses = {member["name"]: member["ipv4"] for member in cluster.status(first)["members"]}
        floods = [
            stack.enter_context(Flood(host, addresses[other.name]))
            for host, other in ((first, second), (second, third), (third, first))
        ]
        took = []
        for number in range(ROUNDS):
            host = hosts[number % len(hosts)]
            began = time.monotonic()
            host.stop_meshd(signal.SIGKILL if number % 2 else signal.SIGTERM)
            host.start_meshd()
            wait_until(lambda h=host: cluster.status(h)["writable"], 20, f"{host.name} to be back")
            took.append((time.monotonic() - began) * 1000)
        stack.close()
        for one in floods:
            if one.lost:
                print(one.story())
        cluster.check()
    return [
        Figure.of("end of meshd, by SIGTERM and SIGKILL in turn, until it is back and takes changes", "ms", took),
        Figure.of("pings sent between the nodes meanwhile, 100 a second", "", [sum(one.sent for one in floods)]),
        Figure.of("of these lost", "", [sum(len(one.lost) for one in floods)]),
    ]
