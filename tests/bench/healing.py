"""From the cure of a partition to one view of all members, three gateways and two laptops: one primary, one revision,
equal copies, changes are taken. Each shape several times, in turn; the limit is the target of issue 3.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict

from lab.cluster import ONE_VIEW, Cluster, three_gateways
from lab.hosts.host import wait_until
from lab.partitions import CUT, LAPTOPS, SHAPES, Shape, one_view

from bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "10"))
LASTS = float(os.environ.get("BENCH_CUT", str(CUT)))
"""Seconds that each partition lasts."""

GIVEN_UP = 60.0
"""Seconds."""


def measure() -> list[Figure]:
    took: dict[str, list[float]] = defaultdict(list)
    with three_gateways(laptops=LAPTOPS) as cluster:
        members = {**cluster.hosts, **cluster.laptops}
        try:
            for number in range(ROUNDS):
                for shape in SHAPES:
                    before = {name: len(host.log()) for name, host in members.items()}
                    seconds = _round(cluster, shape, number)
                    took[shape.__name__].append(seconds)
                    if seconds > ONE_VIEW:
                        print(f"round {number + 1}: {shape.__name__} took {seconds:.1f} s", flush=True)
                        for name, host in members.items():
                            print(f"--- {name}\n{host.log()[before[name] :]}", flush=True)
            cluster.check()
        except AssertionError:
            print(cluster.network.logs(members))
            raise
    print(f"cut for {LASTS:g} s each")
    return [Figure.of(name.replace("_", " "), "s", samples, limit=ONE_VIEW) for name, samples in took.items()]


def _round(cluster: Cluster, shape: Shape, number: int) -> float:
    """Seconds."""
    wait_until(lambda: one_view(cluster), GIVEN_UP, "one view before")
    primary = cluster.primary()
    cluster.add(cluster.others(primary)[number % 2])
    shape(cluster, primary, *cluster.others(primary), LASTS)
    print(f"{time.strftime('%H:%M:%S')} {shape.__name__} ends", flush=True)
    cluster.heal()
    began = time.monotonic()
    wait_until(lambda: one_view(cluster), GIVEN_UP, f"one view after {shape.__name__}")
    return time.monotonic() - began
