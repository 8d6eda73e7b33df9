"""From the start of `meshctl join` to the first answered ping through the tunnel, as a node and as a peer.

meshd runs on both machines. The pings start before the join, every 10 ms, so the figure is exact to that. By hand means
what a script could do at best: the keys are made and known to both sides, the other side is up and has the peer; then
wireguard-go, `wg set`, an address, up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

from bench.figures import Figure, ratio

ROUNDS = 12


def measure() -> list[Figure]:
    figures = []
    for role in ("node", "peer"):
        network = Network()
        try:
            first, answered, by_hand = _rounds(network, role)
        finally:
            network.close()
        figures.append(Figure.of(f"join as a {role}: to the first ping", "ms", first))
        figures.append(Figure.of(f"join as a {role}: until meshctl ends", "ms", answered))
        figures.append(Figure.of("by hand: to the first ping", "ms", by_hand))
        figures.append(ratio(f"first ping: join as a {role} / by hand", first, by_hand))
    return figures


def _rounds(network: Network, role: str) -> tuple[list[float], list[float], list[float]]:
    berlin = network.host("gw-berlin")
    berlin.start_meshd()
    created = berlin.meshctl("create", "home")
    target = created["mesh"]["self"]["ipv4"]
    first, answered, by_hand = [], [], []
    berlin.run("wireguard-go hand0; ip addr add 10.99.0.1/24 dev hand0; ip link set hand0 up")
    hand_key = _key(berlin, "wg set hand0 listen-port 51820")
    for number in range(ROUNDS):  # a new machine each time: joins are limited for each address
        host = network.host(f"{role}-{number}")
        host.start_meshd()
        if role == "node":
            arguments, text = ["join", "-", network.address("gw-berlin")], created["cluster_key"]
        else:
            arguments, text = ["join", "-", "--always-on"], berlin.meshctl("invites", "create", host.name)["text"]
        with pings(host, target) as answer:
            began = time.time()
            host.meshctl(*arguments, input=text)
            answered.append((time.time() - began) * 1000)
            first.append((answer() - began) * 1000)
        host.meshctl("leave", "home", "--yes")
        by_hand.append(_by_hand(network, berlin, host, hand_key))
        host.destroy()
    return first, answered, by_hand


def _key(host: Host, command: str) -> str:
    """Gives `hand0` a new private key with that command; returns the public one."""
    private = host.run("wg genkey").stdout.strip()
    host.run(f"{command} private-key /dev/stdin", input=private)
    return host.run("wg pubkey", input=private).stdout.strip()


def _by_hand(network: Network, berlin: Host, host: Host, other: str) -> float:
    private = host.run("wg genkey").stdout.strip()
    public = host.run("wg pubkey", input=private).stdout.strip()
    berlin.run(f"wg set hand0 peer {public} allowed-ips 10.99.0.2/32")
    with pings(host, "10.99.0.1") as answer:
        began = time.time()
        host.run(
            "wireguard-go hand0; "
            f"wg set hand0 private-key /dev/stdin peer {other} allowed-ips 10.99.0.1/32 "
            f"endpoint {network.address(berlin.name)}:51820; "
            "ip addr add 10.99.0.2/24 dev hand0; ip link set hand0 up",
            input=private,
        )
        took = answer() - began
    berlin.run(f"wg set hand0 peer {public} remove")
    return took * 1000


@contextmanager
def pings(host: Host, target: str) -> Iterator[Callable[[], float]]:
    """Pings all the time; what is yielded waits for the first answer and says when it came, in Unix seconds."""
    ping = host.record(["ping", "-D", "-i", "0.01", target], "ping")

    def answer() -> float:
        wait_until(lambda: "bytes from" in host.recorded("ping"), 20, f"{host.name} to reach {target}")
        found = re.search(r"^\[([\d.]+)\] \d+ bytes from", host.recorded("ping"), re.MULTILINE)
        assert found is not None
        return float(found[1])

    yield answer
    ping.terminate()
    ping.wait(5)
