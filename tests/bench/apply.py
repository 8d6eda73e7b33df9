"""One changed peer in meshes of 10 to 3,000: the whole change against one `wg set` on the same interface.

The change is `SetMemberEnabled` on the node itself, over the helper's socket from a connection that is open already.
Its answer comes when the change is on disk, committed, and the peer is in or out of WireGuard and the firewall, which
`wg show` then proves. `wg set` removes and adds the same kind of peer on the same interface, in the same round.
Processor time is meshd's own, which other load on the machine does not change.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network

from bench.figures import Figure, ratio
from bench.filled import fill, writable
from bench.processes import cpu_seconds

SIZES = (10, 100, 1000, 3000)
ROUNDS = 10
LIMIT = 60.0


def measure() -> list[Figure]:
    figures = []
    network = Network()
    try:
        berlin = network.host("gw-berlin")
        berlin.start_meshd()
        berlin.meshctl("create", "home")
        have = 0
        for size in SIZES:
            berlin.stop_meshd()
            fill(berlin, size - have)
            have = size
            berlin.start_meshd()
            wait_until(lambda: writable(berlin), 60, "the mesh to be writable")
            wait_until(lambda s=size: _peers(berlin) == s + 1, 60, f"{size} peers and an invite in WireGuard")
            before = cpu_seconds(berlin.meshd_pid())
            answer = berlin.run(
                [str(BIN / "python"), "-m", "bench.apply"],
                timeout=ROUNDS * LIMIT,
                environment={"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"},
            )
            used = cpu_seconds(berlin.meshd_pid()) - before
            samples = json.loads(answer.stdout)
            figures += [
                Figure.of(
                    f"{size:5} peers: one peer disabled or enabled, committed and applied", "ms", samples["ours"]
                ),
                Figure.of(f"{size:5} peers: one `wg set`", "ms", samples["wg set"]),
                ratio(f"{size:5} peers: ours / `wg set`", samples["ours"], samples["wg set"]),
                Figure.of(f"{size:5} peers: processor time of meshd for one", "ms", [used * 1000 / (2 * ROUNDS)]),
            ]
    finally:
        network.close()
    return figures


def _peers(host: Host) -> int:
    return len(host.run("wg show home peers", check=False).stdout.splitlines())


def _wg_set(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run(["wg", "set", "home", "peer", *words], check=True)
    return (time.perf_counter() - began) * 1000


def _inside() -> None:
    """Runs in the host: prints the samples."""
    from meshproto import local_pb2, state_pb2
    from meshproto.client import DEFAULT_SOCKET, connect

    channel, stub = connect(DEFAULT_SOCKET)
    status = stub.GetStatus(local_pb2.GetStatusRequest(mesh="home"))
    peers = [one for one in status.meshes[0].members if one.role == state_pb2.ROLE_PEER]
    chosen = peers[len(peers) // 2]
    stranger = base64.b64encode(os.urandom(32)).decode()
    samples: dict[str, list[float]] = {"ours": [], "wg set": []}
    for _ in range(ROUNDS):
        for enabled in (False, True):
            request = local_pb2.SetMemberFlagRequest(
                mesh="home", who=chosen.id, on=enabled, request_id=os.urandom(8).hex()
            )
            began = time.perf_counter()
            stub.SetMemberEnabled(request, timeout=LIMIT)
            samples["ours"].append((time.perf_counter() - began) * 1000)
            words = ["allowed-ips", "192.0.2.77/32"] if enabled else ["remove"]
            samples["wg set"].append(_wg_set(stranger, *words))
            shown = subprocess.run(["wg", "show", "home", "peers"], capture_output=True, text=True, check=True).stdout
            assert (chosen.public_key in shown) == enabled, "the answer came before the change was applied"
    channel.close()
    json.dump(samples, sys.stdout)


if __name__ == "__main__":
    _inside()
