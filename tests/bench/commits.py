"""Committed changes a second and how long each takes, with three and five nodes, one writer and eight; beside them the
same number of bare redis-servers with the same durability, which are told SET, and WAIT for a majority.

The bare servers copy through the same tunnels. A change of ours is more than a key: it is checked, written by one
script, confirmed by the helpers of a majority, who store that with fsync, and applied before the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from chaos.cluster import Cluster
from lab.hosts.host import Host, wait_until
from meshd.store.connection import Connection
from meshproto import client, local_pb2

from bench.figures import Figure, ratio

ROUNDS = 5
SECONDS = 3.0
PORT = 6399


def measure() -> list[Figure]:
    figures = []
    for nodes in (3, 5):
        cluster = Cluster()
        try:
            cluster.start(nodes)
            figures += _with(cluster, nodes)
        finally:
            cluster.network.close()
    return figures


def _with(cluster: Cluster, nodes: int) -> list[Figure]:
    hosts = list(cluster.nodes.values())
    primary = cluster.primary()
    assert primary is not None
    bare = _bare(cluster, primary, hosts)
    figures = []
    for writers in (1, 8):
        ours: list[float] = []
        theirs: list[float] = []
        latencies: list[float] = []
        their_latencies: list[float] = []
        for number in range(ROUNDS):
            for which in (0, 1) if number % 2 else (1, 0):
                if which:
                    rate, times = asyncio.run(_ours(cluster.socket(primary), writers, (nodes, number)))
                    ours.append(rate)
                    latencies += times
                else:
                    rate, times = asyncio.run(_theirs(bare, writers, nodes // 2))
                    theirs.append(rate)
                    their_latencies += times
        title = f"{nodes} nodes, {writers} writer{'s' if writers > 1 else ''}"
        figures += [
            Figure.of(f"{title}: changes a second", "1/s", ours),
            Figure.of(f"{title}: SET and WAIT {nodes // 2} a second", "1/s", theirs),
            ratio(f"{title}: ours / bare", ours, theirs),
            Figure.of(f"{title}: time of one change", "ms", latencies),
            Figure.of(f"{title}: time of SET and WAIT", "ms", their_latencies),
        ]
    return figures


def _bare(cluster: Cluster, primary: Host, hosts: list[Host]) -> Path:
    """Starts a server on each host; returns the socket of the one that all others follow."""
    status = cluster.status(primary)
    assert status is not None
    addresses = {member.name: member.ipv4 for member in status.members}
    for host in hosts:
        follow = f"--replicaof {addresses[primary.name]} {PORT}" if host is not primary else ""
        host.run(
            f"mkdir -p /var/lib/meshd/bare; redis-server --daemonize yes --bind {addresses[host.name]} --port {PORT} "
            f"--protected-mode no --unixsocket /run/bare.sock --dir /var/lib/meshd/bare --save '' --appendonly yes "
            f"--appendfsync always --repl-diskless-sync no {follow} >/dev/null"
        )
    wait_until(
        lambda: (
            primary.run("redis-cli -s /run/bare.sock info replication", check=False).stdout.count("state=online")
            == len(hosts) - 1
        ),
        20,
        "the bare servers to follow",
    )
    return Path(f"/proc/{primary.pid}/root/run/bare.sock")


async def _repeat(writers: int, once: Callable[[int], Awaitable[None]]) -> tuple[float, list[float]]:
    """How often it could be done in a second by all together, and the milliseconds of each."""
    times: list[float] = []
    until = time.monotonic() + SECONDS

    async def run(writer: int) -> None:
        while (began := time.monotonic()) < until:
            await once(writer)
            times.append((time.monotonic() - began) * 1000)

    await asyncio.gather(*(run(writer) for writer in range(writers)))
    return len(times) / SECONDS, times


async def _ours(socket: Path, writers: int, run: tuple[int, int]) -> tuple[float, list[float]]:
    """A route is added and removed in turn."""
    channel, stub = client.connect_async(socket)
    there: set[int] = set()

    async def once(writer: int) -> None:
        request = local_pb2.RouteRequest(cidr=f"172.16.{writer}.{run[1]}/32")
        if writer in there:
            there.remove(writer)
            await stub.RemoveRoute(request, timeout=30)
        else:
            there.add(writer)
            await stub.AddRoute(request, timeout=30)

    async with channel:
        found = await _repeat(writers, once)
        for writer in list(there):
            await once(writer)
        return found


async def _theirs(socket: Path, writers: int, replicas: int) -> tuple[float, list[float]]:
    connections = [Connection.to_url(f"unix://{socket}", "bare redis") for _ in range(writers)]

    async def once(writer: int) -> None:
        await connections[writer].call("SET", f"key-{writer}", time.monotonic_ns())
        assert await connections[writer].call("WAIT", replicas, 10_000, timeout=15) >= replicas

    try:
        return await _repeat(writers, once)
    finally:
        for connection in connections:
            await connection.close()
