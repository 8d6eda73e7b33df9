"""Partitions of every shape heal: soon all members have one primary, one revision, and equal copies.

The target is 5 s (issue 3), and what was measured is printed; the limit is for a machine that has other things to do.
`tests/bench/run healing` measures it on one that has not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from lab.cluster import ONE_VIEW, ONE_VIEW_LIMIT, Cluster, three_gateways
from lab.hosts.host import wait_until
from lab.partitions import CUT, LAPTOPS, SHAPES, Shape, one_view

pytestmark = [pytest.mark.quiet, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with three_gateways(laptops=LAPTOPS) as made:
        yield made


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_all_have_one_view_soon_after(cluster: Cluster, shape: Shape) -> None:
    wait_until(lambda: one_view(cluster), 30, "one view before")
    primary = cluster.primary()
    cluster.add(primary)
    shape(cluster, primary, *cluster.others(primary), CUT)
    cluster.heal()
    began = time.monotonic()
    wait_until(lambda: one_view(cluster), ONE_VIEW_LIMIT, "one view")
    print(f"{shape.__name__}: one view {time.monotonic() - began:.1f} s after it healed (target {ONE_VIEW:g} s)")
    cluster.add(cluster.hosts["gw-oslo"])
    cluster.check()
