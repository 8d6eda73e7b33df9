"""What can happen to nodes, each with its cure. Chosen at random by seed."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Sequence
from functools import partial

from lab.hosts.host import Host

from chaos.cluster import Cluster

Cure = Callable[[], None]
Fault = Callable[[Cluster, random.Random], tuple[str, Cure]]
"""Strikes; returns what it did, and what undoes it."""


def _victim(cluster: Cluster, dice: random.Random) -> Host:
    """Often one whose append-only file is being rewritten, or the primary: its loss is what has to be survived."""
    rewriting = cluster.rewriting()
    if rewriting and dice.random() < 0.4:
        return dice.choice(rewriting)
    primary = cluster.primary() if dice.random() < 0.6 else None
    return primary or dice.choice(list(cluster.nodes.values()))


def meshd_killed(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    host = _victim(cluster, dice)
    host.stop_meshd(signal.SIGKILL)
    return f"meshd of {host.name} killed", partial(cluster.start_meshd, host)


def meshd_restarted(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    host = _victim(cluster, dice)
    host.stop_meshd()
    return f"meshd of {host.name} stopped", partial(cluster.start_meshd, host)


def meshd_stands_still(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    host = _victim(cluster, dice)
    cluster.signal_meshd(host, signal.SIGSTOP)
    return f"meshd of {host.name} stands still", lambda: cluster.signal_meshd(host, signal.SIGCONT)


def redis_killed(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    host = _victim(cluster, dice)
    cluster.signal_redis(host, signal.SIGKILL)
    return f"redis of {host.name} killed", lambda: None


def redis_stands_still(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    host = _victim(cluster, dice)
    cluster.signal_redis(host, signal.SIGSTOP)
    return f"redis of {host.name} stands still", lambda: cluster.signal_redis(host, signal.SIGCONT)


def both_killed(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    host = _victim(cluster, dice)
    cluster.signal_redis(host, signal.SIGKILL)
    host.stop_meshd(signal.SIGKILL)
    return f"meshd and redis of {host.name} killed", partial(cluster.start_meshd, host)


def everything_killed(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    """As if all machines lost power, but for what the disk would have lost."""
    hosts = list(cluster.nodes.values())
    for host in hosts:
        cluster.signal_redis(host, signal.SIGKILL)
        host.stop_meshd(signal.SIGKILL)

    def cure() -> None:
        for host in hosts:
            cluster.start_meshd(host)

    return "meshd and redis of all nodes killed", cure


def disk_full(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    host = _victim(cluster, dice)
    cluster.fill_disk(host)
    return f"disk of {host.name} full", lambda: cluster.empty_disk(host)


def clock_set(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    """Wrong, and right again. Not by more than the day that certificates are made to bear."""
    host = _victim(cluster, dice)
    ahead = dice.choice((-1, 1)) * dice.choice((0.7, 30, 3600, 72000))
    cluster.set_clock(host, ahead)
    return f"clock of {host.name} {ahead:+} s", partial(cluster.set_clock, host, 0)


def _cut(cluster: Cluster, one: Sequence[Host], other: Sequence[Host]) -> None:
    for near in one:
        for far in other:
            cluster.drop(near, far)
            cluster.drop(far, near)


def isolated(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    host = _victim(cluster, dice)
    _cut(cluster, [host], [one for one in cluster.nodes.values() if one is not host])
    return f"{host.name} cut off", cluster.connect_all


def halves(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    hosts = dice.sample(list(cluster.nodes.values()), len(cluster.nodes))
    middle = len(hosts) // 2
    _cut(cluster, hosts[:middle], hosts[middle:])
    return f"cut between {_names(hosts[:middle])} and {_names(hosts[middle:])}", cluster.connect_all


def bridge(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    """One node reaches all; the others reach only their own half."""
    between, *hosts = dice.sample(list(cluster.nodes.values()), len(cluster.nodes))
    middle = (len(hosts) + 1) // 2
    _cut(cluster, hosts[:middle], hosts[middle:])
    text = f"{_names(hosts[:middle])} and {_names(hosts[middle:])} reach only {between.name}"
    return text, cluster.connect_all


def one_way(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    host = _victim(cluster, dice)
    others = [one for one in cluster.nodes.values() if one is not host]
    deaf = dice.random() < 0.5
    for other in others:
        cluster.drop(*(host, other) if deaf else (other, host))
    return f"{host.name} {'hears nobody' if deaf else 'is heard by nobody'}", cluster.connect_all


def loss(cluster: Cluster, dice: random.Random) -> tuple[str, Cure]:
    percent = dice.choice((5, 20, 40))
    for host in cluster.nodes.values():
        cluster.lose(host, percent)
    return f"{percent} % of packets lost everywhere", cluster.connect_all


def _names(hosts: Sequence[Host]) -> str:
    return ", ".join(host.name for host in hosts)


OF_MACHINES: tuple[Fault, ...] = (
    meshd_killed, meshd_restarted, meshd_stands_still, redis_killed, redis_stands_still, both_killed,
    everything_killed, disk_full, clock_set,
)  # fmt: skip
OF_THE_NETWORK: tuple[Fault, ...] = (isolated, isolated, halves, bridge, one_way, loss)
