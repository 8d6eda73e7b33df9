"""Partitions of every shape heal: soon all nodes have one primary, one revision, and equal copies.

The target is 5 s (issue 3), and what was measured is printed; the limit is for a machine that has other things to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from lab.cluster import ONE_VIEW, ONE_VIEW_LIMIT, Cluster, three_gateways
from lab.hosts.host import Host, wait_until

pytestmark = [pytest.mark.quiet, pytest.mark.timeout(300)]

CUT = 4.0
"""Seconds that a partition lasts: longer than a lease and an election."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with three_gateways() as made:
        yield made


def cut(cluster: Cluster, *ways: tuple[Host, Host]) -> None:
    """Nothing passes from the one to the other."""
    for source, target in ways:
        source.run(f"ip route add blackhole {cluster.network.address(target.name)}/32; ip route flush cache")


def both(one: Host, other: Host) -> list[tuple[Host, Host]]:
    return [(one, other), (other, one)]


def halves(cluster: Cluster, primary: Host, other: Host, third: Host) -> None:
    cut(cluster, *both(primary, third), *both(other, third))
    time.sleep(CUT)


def isolated_primary(cluster: Cluster, primary: Host, other: Host, third: Host) -> None:
    cut(cluster, *both(primary, other), *both(primary, third))
    time.sleep(CUT)


def primary_hears_nobody(cluster: Cluster, primary: Host, other: Host, third: Host) -> None:
    cut(cluster, (other, primary), (third, primary))
    time.sleep(CUT)


def nobody_hears_the_primary(cluster: Cluster, primary: Host, other: Host, third: Host) -> None:
    cut(cluster, (primary, other), (primary, third))
    time.sleep(CUT)


def bridge(cluster: Cluster, primary: Host, other: Host, third: Host) -> None:
    cut(cluster, *both(primary, third))
    time.sleep(CUT)


def everything(cluster: Cluster, primary: Host, other: Host, third: Host) -> None:
    cut(cluster, *both(primary, other), *both(primary, third), *both(other, third))
    time.sleep(CUT)


def flapping(cluster: Cluster, primary: Host, other: Host, third: Host) -> None:
    for length in (0.3, 1.0, 0.6, 1.5, 0.4):
        cut(cluster, *both(primary, other), *both(primary, third))
        time.sleep(length)
        cluster.heal()
        time.sleep(length / 2)


SHAPES = [
    halves, isolated_primary, primary_hears_nobody, nobody_hears_the_primary, bridge, everything, flapping,
]  # fmt: skip


def one_view(cluster: Cluster) -> bool:
    """Whether every node says the same, takes changes, and knows of equal copies."""
    seen = [cluster.status(host) for host in cluster.hosts.values()]
    views = {(status["primary"], status["revision"]) for status in seen}
    lags = {member["replica_lag"] for status in seen for member in status["members"]}
    return len(views) == 1 and all(status["writable"] for status in seen) and lags == {0}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_all_have_one_view_soon_after(cluster: Cluster, shape: Callable[..., None]) -> None:
    wait_until(lambda: one_view(cluster), 30, "one view before")
    primary = cluster.primary()
    cluster.add(primary)
    shape(cluster, primary, *cluster.others(primary))
    cluster.heal()
    began = time.monotonic()
    wait_until(lambda: one_view(cluster), ONE_VIEW_LIMIT, "one view")
    print(f"{shape.__name__}: one view {time.monotonic() - began:.1f} s after it healed (target {ONE_VIEW:g} s)")
    cluster.add(cluster.hosts["gw-oslo"])
    cluster.check()
