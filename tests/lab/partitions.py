"""Partitions of every shape, and whether all members have one view: for the test that all of them heal, and for the
benchmark of how long that takes."""

from __future__ import annotations

import time
from collections.abc import Callable

from lab.cluster import Cluster
from lab.hosts.host import Host

CUT = 4.0
"""Seconds that a partition lasts: longer than a lease and an election."""

LAPTOPS = {"laptop-ada": False, "laptop-grace": True}
"""Members that are no nodes, and whether they are behind NAT."""

Shape = Callable[[Cluster, Host, Host, Host, float], None]
"""Cuts the primary, and the two other gateways, from each other, for so many seconds."""


def cut(cluster: Cluster, *ways: tuple[Host, Host]) -> None:
    """Nothing passes from the one to the other."""
    for source, target in ways:
        source.run(f"ip route add blackhole {cluster.network.address(target.name)}/32; ip route flush cache")


def both(one: Host, other: Host) -> list[tuple[Host, Host]]:
    return [(one, other), (other, one)]


def halves(cluster: Cluster, primary: Host, other: Host, third: Host, seconds: float) -> None:
    cut(cluster, *both(primary, third), *both(other, third))
    time.sleep(seconds)


def isolated_primary(cluster: Cluster, primary: Host, other: Host, third: Host, seconds: float) -> None:
    cut(cluster, *both(primary, other), *both(primary, third))
    time.sleep(seconds)


def primary_hears_nobody(cluster: Cluster, primary: Host, other: Host, third: Host, seconds: float) -> None:
    cut(cluster, (other, primary), (third, primary))
    time.sleep(seconds)


def nobody_hears_the_primary(cluster: Cluster, primary: Host, other: Host, third: Host, seconds: float) -> None:
    cut(cluster, (primary, other), (primary, third))
    time.sleep(seconds)


def bridge(cluster: Cluster, primary: Host, other: Host, third: Host, seconds: float) -> None:
    cut(cluster, *both(primary, third))
    time.sleep(seconds)


def everything(cluster: Cluster, primary: Host, other: Host, third: Host, seconds: float) -> None:
    """Also the laptops."""
    nodes = (primary, other, third)
    cut(cluster, *both(primary, other), *both(primary, third), *both(other, third))
    cut(cluster, *(way for laptop in cluster.laptops.values() for node in nodes for way in both(laptop, node)))
    time.sleep(seconds)


def flapping(cluster: Cluster, primary: Host, other: Host, third: Host, _: float) -> None:
    """A link that comes and goes, in a rhythm of its own."""
    for length in (0.3, 1.0, 0.6, 1.5, 0.4):
        cut(cluster, *both(primary, other), *both(primary, third))
        time.sleep(length)
        cluster.heal()
        time.sleep(length / 2)


SHAPES: tuple[Shape, ...] = (
    halves, isolated_primary, primary_hears_nobody, nobody_hears_the_primary, bridge, everything, flapping,
)  # fmt: skip


def one_view(cluster: Cluster) -> bool:
    """Whether every member says the same, would have a change made, and every node knows of equal copies."""
    seen = [host.mesh() for host in (*cluster.hosts.values(), *cluster.laptops.values())]
    views = {(one.primary, one.epoch, one.revision) if one is not None and one.writable else None for one in seen}
    lags = {
        member.replica_lag
        for one in seen[: len(cluster.hosts)]
        for member in (one.members if one is not None else ())
        if member.name in cluster.hosts
    }
    return len(views) == 1 and None not in views and lags == {0}
