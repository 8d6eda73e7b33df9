"""Memory and idle processor time of meshd and what it starts: without a mesh, alone in one, and with 1,000 members.

Memory is the resident set (`VmRSS`) after half a minute; processor time is that of meshd over 20 s in which nothing
is asked of it, in percent of one processor. To compare: wireguard-go with as many peers, set up with `wg`, left alone.
"""

from __future__ import annotations

import base64
import os
import time

from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

from bench.figures import Figure, ratio
from bench.filled import fill, writable
from bench.processes import cpu_seconds, found, megabytes

MEMBERS = (1000, 3000)
SETTLE, WATCH = 10.0, 20.0


def measure() -> list[Figure]:
    network = Network()
    figures: list[Figure] = []
    try:
        berlin = network.host("gw-berlin")
        berlin.start_meshd()
        figures += (idle := _look(berlin, "no mesh"))
        berlin.meshctl("create", "home")
        figures += _look(berlin, "a node alone in a mesh")
        have = 0
        for count in MEMBERS:
            berlin.stop_meshd()
            fill(berlin, count - have)
            have = count
            berlin.start_meshd()
            wait_until(lambda: writable(berlin), 60, "the mesh to be writable")
            figures += (full := _look(berlin, f"a node with {count} members"))
            figures.append(ratio(f"meshd's memory: {count} members / no mesh", full[0].samples, idle[0].samples))
            by_hand = Figure.of(f"wireguard-go by hand with {count} peers, memory", "MB", [_by_hand(berlin, count)])
            figures += [by_hand, ratio("wireguard-go's memory: ours / by hand", full[2].samples, by_hand.samples)]
        ada = network.host("laptop-ada")
        ada.start_meshd()
        invite = berlin.meshctl("invites", "create", "laptop-ada")["text"]
        ada.meshctl("join", "-", "--always-on", "--wait", "20", input=invite)
        figures += _look(ada, f"a peer with {MEMBERS[-1]} members")
    finally:
        network.close()
    return figures


def _by_hand(host: Host, count: int) -> float:
    before = found(host, "wireguard-go")
    host.run("wireguard-go hand0")
    peers = [
        f"[Peer]\nPublicKey={base64.b64encode(os.urandom(32)).decode()}\n"
        f"AllowedIPs=10.200.{number >> 8}.{number & 255}/32,fd00:9::{number:x}/128,fd00:8::{number:x}/128\n"
        for number in range(count)
    ]
    host.run("wg addconf hand0 /dev/stdin", input="".join(peers))
    host.run("ip link set hand0 up")
    time.sleep(SETTLE)
    pid = next(one for one in found(host, "wireguard-go") if one not in before)
    used = megabytes(pid)
    host.run("ip link del hand0")
    wait_until(lambda: found(host, "wireguard-go") == before, 10, "wireguard-go by hand to end")
    return used


def _look(host: Host, what: str) -> list[Figure]:
    time.sleep(SETTLE)
    meshd = host.meshd_pid()
    before = cpu_seconds(meshd)
    time.sleep(WATCH)
    used = (cpu_seconds(meshd) - before) / WATCH * 100
    figures = [
        Figure.of(f"{what}: meshd, memory", "MB", [megabytes(meshd)]),
        Figure.of(f"{what}: meshd, processor", "%", [used]),
    ]
    for name in ("wireguard-go", "redis-server"):
        for pid in found(host, name):
            figures.append(Figure.of(f"{what}: {name}, memory", "MB", [megabytes(pid)]))
    return figures
