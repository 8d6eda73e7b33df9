"""What is broken is noticed, reported and repaired; what is gone for good is removed, or replaced by force."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from lab.cluster import REDIS_PID, TAKEN_OVER, Cluster, three_gateways
from lab.hosts.host import Host, wait_until

pytestmark = pytest.mark.quiet


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with three_gateways(disk="64m") as made:
        yield made


def events(host: Host) -> list[str]:
    return [line for line in host.meshctl_raw("events").stdout.splitlines() if line]


def test_redis_of_the_primary_hangs(cluster: Cluster) -> None:
    """Another one leads; the one that hangs is ended and started again, and follows."""
    old = cluster.primary()
    cluster.add(old)
    pid = old.run(f"echo {REDIS_PID}").stdout
    old.run(f"kill -STOP {REDIS_PID}")
    survivors = cluster.others(old)
    took = cluster.add(survivors[0])
    print(f"first change after the primary's redis stood still: {took:.2f} s")
    assert took < TAKEN_OVER
    assert cluster.primary(*survivors) is not old
    began = time.monotonic()
    wait_until(lambda: old.run(f"echo {REDIS_PID}").stdout != pid, 20, "redis to be started anew")
    print(f"started anew {time.monotonic() - began:.1f} s after that")
    cluster.add(old)
    cluster.check()
    told = "\n".join(events(old))
    assert re.search(r"is not the primary any more: redis .*(hangs|gave no answer)", told), told
    assert "redis ended: redis-server was ended by signal 9; it is started again" in told


def test_the_disk_of_the_primary_is_full(cluster: Cluster) -> None:
    """It can't store what it promises any more: another one leads. With room again it follows."""
    old = cluster.primary()
    cluster.add(old)
    old.run("dd if=/dev/zero of=/var/lib/meshd/filler bs=64k 2>/dev/null", check=False)
    survivors = cluster.others(old)
    for host in survivors:
        took = cluster.add(host)
        print(f"a change with the primary's disk full: {took:.2f} s")
        assert took < TAKEN_OVER
    assert cluster.primary(*survivors) is not old
    wait_until(lambda: "is not the primary any more" in "\n".join(events(old)[-10:]), 5, f"{old.name} to tell it")
    old.run("rm /var/lib/meshd/filler")
    wait_until(lambda: cluster.status(old)["writable"], 20, f"{old.name} to be back")
    cluster.add(old)
    cluster.check()


def test_a_dead_primary_is_removed_and_one_of_two_is_forced(cluster: Cluster) -> None:
    """Down to a pair, whose older node dies: the younger one says what may be lost, and leads when told to."""
    dead = cluster.primary()
    rest = cluster.others(dead)
    cluster.add(dead)
    dead.power_off()
    cluster.add(rest[0])
    leads = cluster.primary(*rest)
    assert leads is not dead
    leads.meshctl("nodes", "remove", dead.name)
    cluster.done = {cidr: name for cidr, name in cluster.done.items() if name != dead.name}
    assert cluster.voters(leads) == 2
    cluster.add(rest[0])
    cluster.check(*rest)

    older, younger = sorted(rest, key=lambda host: list(cluster.hosts).index(host.name))
    refused = younger.meshctl_raw("nodes", "promote", younger.name, "--force", "--yes")
    assert refused.returncode == 1
    assert "the primary is there" in refused.stderr or "primary already" in refused.stderr
    younger.meshctl("nodes", "promote", older.name)
    assert cluster.primary(*rest) is older
    cluster.partition(older)
    cluster.add(older)  # the older one of a pair goes on alone
    lost = next(reversed(cluster.done))
    wait_until(lambda: cluster.status(younger)["primary"] is None, 10, "the younger one to notice")
    assert younger.meshctl_raw("routes", "add", "192.0.2.0/28").returncode == 1
    asked = younger.meshctl_raw("nodes", "promote", younger.name, "--force")
    assert asked.returncode == 2
    print(asked.stderr)
    assert "is lost" in asked.stderr
    assert f"until these follow it again: {older.name}" in asked.stderr
    younger.meshctl("nodes", "promote", younger.name, "--force", "--yes")
    cluster.add(younger)
    cluster.done.pop(lost)
    cluster.heal()
    wait_until(lambda: cluster.status(older)["primary"] == younger.name, 20, "the older one to follow")
    cluster.check(older, younger)
    assert lost not in {route["cidr"] for route in older.meshctl("routes", "list")}
    assert "made the primary by force" in "\n".join(events(older))
    assert older.run("ls -d /var/lib/meshd/home/replaced-*").stdout.count("\n") == 1
    wait_until(lambda: cluster.voters(younger) == 2, 15, "both to vote again")
    cluster.add(older)
    cluster.check(older, younger)
