"""Throughput of a tunnel that meshd set up against one between the same hosts set up by hand with `wg` and `ip`.

Both tunnels exist at once and are measured in turn, each round one after the other, the order changing.
"""

from __future__ import annotations

import json
import subprocess

from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

from bench.figures import Figure, ratio

ROUNDS = 10
SECONDS = 3
HAND = {"gw-berlin": "10.99.0.1", "gw-paris": "10.99.0.2"}


def measure() -> list[Figure]:
    network = Network()
    try:
        berlin, paris = network.host("gw-berlin"), network.host("gw-paris")
        for host in (berlin, paris):
            host.start_meshd()
        key = berlin.meshctl("create", "home")["cluster_key"]
        joined = paris.meshctl("join", "-", network.address("gw-berlin"), "--wait", "20", input=key)
        kernel = joined["backend"] == "kernel"
        _by_hand(network, berlin, paris, kernel)
        ours = next(one["ipv4"] for one in joined["members"] if one["name"] == "gw-berlin")
        for address in (ours, HAND["gw-berlin"]):
            wait_until(lambda a=address: paris.ping(a, 1), 10, f"{address} to answer")
        targets = {"ours": ours, "by hand": HAND["gw-berlin"], "no tunnel": network.address("gw-berlin")}
        samples: dict[str, list[float]] = {name: [] for name in targets}
        for number in range(ROUNDS):
            for name in list(targets)[:: 1 if number % 2 else -1]:
                samples[name].append(_megabits(berlin, paris, targets[name]))
        return [
            Figure.of(f"TCP through the tunnel, set up by meshd ({joined['backend']})", "Mbit/s", samples["ours"]),
            Figure.of("TCP through the tunnel, set up by hand", "Mbit/s", samples["by hand"]),
            ratio("ours / by hand", samples["ours"], samples["by hand"]),
            Figure.of("TCP without a tunnel", "Mbit/s", samples["no tunnel"]),
        ]
    finally:
        network.close()


def _by_hand(network: Network, berlin: Host, paris: Host, kernel: bool) -> None:
    """The same kind of interface, the same MTU, the same underlay."""
    keys = {}
    for host in (berlin, paris):
        host.run("ip link add hand0 type wireguard" if kernel else "wireguard-go hand0")
        private = host.run("wg genkey").stdout.strip()
        keys[host.name] = host.run("wg pubkey", input=private).stdout.strip()
        host.run("wg set hand0 listen-port 51820 private-key /dev/stdin", input=private)
        host.run(f"ip link set hand0 mtu 1420 up; ip addr add {HAND[host.name]}/30 dev hand0")
    for host, other in ((berlin, paris), (paris, berlin)):
        host.run(
            f"wg set hand0 peer {keys[other.name]} allowed-ips {HAND[other.name]}/32 "
            f"endpoint {network.address(other.name)}:51820"
        )


def _megabits(server: Host, client: Host, address: str) -> float:
    listening = server.popen(["iperf3", "-s", "-1"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_until(lambda: "5201" in server.run("ss -Hltn").stdout, 5, "iperf3 to listen")
    done = client.run(["iperf3", "-c", address, "-t", str(SECONDS), "-J"], timeout=SECONDS + 20)
    listening.wait(10)
    answer = json.loads(done.stdout)
    if "sum_received" not in answer["end"]:
        raise AssertionError(f"iperf3 to {address} failed: {answer.get('error', answer)}")
    return float(answer["end"]["sum_received"]["bits_per_second"]) / 1e6
