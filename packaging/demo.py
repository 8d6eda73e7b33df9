"""Builds the demo's mesh from the lab's hosts; `packaging/demo` starts it. The product never imports this."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from kept import Record
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network

GATEWAYS = ("gw-berlin", "gw-paris", "gw-oslo")
LAPTOPS = ("laptop-ada", "laptop-grace")
RECORD, CHECK_RECORD = Path("/run/meshtui-demo.json"), Path("/run/meshtui-demo-check.json")
ROUTE, BEHIND = "203.0.113.0/24", "203.0.113.9"


class Steps:
    """Says what is done and how long it took."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.times: list[tuple[str, float]] = []

    def step(self, text: str) -> None:
        now = time.monotonic()
        self.times.append((text, now - self._began))
        print(f"  {now - self._began:5.1f} s  {text}", flush=True)
        self._began = now


def everything(network: Network) -> list[Host]:
    return [*network.hosts.values(), network.router]


def build(network: Network, record: Record, steps: Steps) -> tuple[list[Host], list[Host]]:
    """Three gateways and two laptops in one mesh, connected."""
    for name in (*GATEWAYS, *LAPTOPS):
        network.host(name, nat=name == "laptop-grace")
        record.write(everything(network), kept=False)
    gateways, laptops = [network.hosts[name] for name in GATEWAYS], [network.hosts[name] for name in LAPTOPS]
    steps.step("five hosts on separate subnets, laptop-grace behind NAT")
    for host in (*gateways, *laptops):
        host.start_meshd()
    steps.step("meshd runs on each")
    key = gateways[0].meshctl("create", "home")["cluster_key"]
    steps.step("gw-berlin: meshctl create home")
    for host in gateways[1:]:
        host.meshctl("join", "-", network.address("gw-berlin"), input=key)
        steps.step(f"{host.name}: meshctl join - {network.address('gw-berlin')}")
    for host in laptops:
        text = gateways[0].meshctl("invites", "create", host.name)["text"]
        host.meshctl("join", "-", "--always-on", "--wait", "15", input=text)
        steps.step(f"{host.name}: meshctl join - --always-on, with an invite")
    return gateways, laptops


def check(network: Network, record: Record, gateways: list[Host], laptops: list[Host], steps: Steps) -> None:
    """Every pair by IPv4 and IPv6, and a host behind a gateway. Raises AssertionError."""
    members = gateways[0].meshctl("status")["meshes"][0]["members"]
    hosts = [*gateways, *laptops]
    for host in hosts:
        for member in members:
            if member["name"] != host.name:
                for address in (member["ipv4"], member["ipv6"]):
                    wait_until(lambda h=host, a=address: h.ping(a, 1), 15, f"{host.name} to reach {member['name']}")
    steps.step(f"all {len(hosts) * (len(hosts) - 1)} pairs reach each other by IPv4 and IPv6")
    network.add_lan_host("gw-paris", ROUTE, BEHIND)
    record.write(everything(network), kept=False)
    gateways[1].meshctl("routes", "add", ROUTE)
    for laptop in laptops:
        wait_until(lambda h=laptop: h.ping(BEHIND, 1), 10, f"{laptop.name} to reach {BEHIND} behind gw-paris")
    steps.step(f"gw-paris: meshctl routes add {ROUTE}; both laptops reach {BEHIND} behind it")


def remove(hosts: list[Host], steps: Steps) -> None:
    """Every member leaves; nothing of the mesh may be left on any host. Raises AssertionError."""
    for host in reversed(hosts):
        host.meshctl("leave", "home", "--yes")
        looks = "ip -br link show dev home 2>/dev/null; nft list tables; ls /run/wireguard"
        left = host.run(looks, check=False).stdout.strip()
        if left or "meshd" in host.run("cat /etc/hosts").stdout:
            raise AssertionError(f"{host.name} still has something of the mesh: {left}")
    steps.step("every member left; nothing of the mesh remains on any host")


def watch(enter: list[str]) -> bool:
    """meshtui on the host that `enter` leads to; then whether the mesh is to be kept. Raises AssertionError."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run([*enter, str(BIN / "meshtui")], env=environment, check=False)
    if done.returncode != 0:
        raise AssertionError(f"meshtui ended with {done.returncode}")
    while True:
        answer = input("\nThe mesh still runs. [k]eep it or [r]emove it? [r] ").strip().lower()
        if answer in ("", "r", "remove"):
            return False
        if answer in ("k", "keep"):
            print(f"""
It is kept. Look again:  ./packaging/demo
A shell on laptop-ada:   {" ".join(enter)} env PATH={BIN}:$PATH bash
Remove it:               ./packaging/demo --remove""")
            return True


def look_again(record: Record) -> int:
    """The mesh that was kept."""
    print("a mesh was kept: meshtui opens on its laptop-ada")
    try:
        if watch(next(host for host in record.hosts if host.name == "laptop-ada").enter):
            return 0
    except AssertionError as error:
        print(f"demo: {error}\nthe mesh still runs; ./packaging/demo --remove removes it", file=sys.stderr)
        return 1
    record.remove()
    print("the mesh is removed")
    return 0


def try_out(record: Record, *, checking: bool) -> int:
    """A new mesh: watched by a person, or checked."""
    steps = Steps()
    began = time.monotonic()
    network = Network()
    keeping = False
    try:
        gateways, laptops = build(network, record, steps)
        if checking:
            check(network, record, gateways, laptops, steps)
            remove([*gateways, *laptops], steps)
        elif watch(laptops[0].enter):
            record.write(everything(network), kept=True)
            keeping = True
            return 0
    except AssertionError as error:
        print(f"\ndemo: {error}\n\n{network.logs()}", file=sys.stderr)
        return 1
    finally:
        if not keeping:
            network.close()
            record.remove()
    print(f"\n{'all good' if checking else 'the mesh is removed'}: {time.monotonic() - began:.0f} s in all")
    return 0


def stop(number: int, frame: FrameType | None) -> None:
    """Ends the demo by way of its `finally`."""
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="try everything without a terminal, then remove it")
    parser.add_argument("--remove", action="store_true", help="remove the mesh that was kept")
    options = parser.parse_args()
    if not options.check and not options.remove and not sys.stdin.isatty():
        print("demo: no terminal; ./packaging/demo --check needs none", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    record = Record(CHECK_RECORD if options.check else RECORD)
    if not record.held:
        print("demo: another one is open; leave it first", file=sys.stderr)
        return 1
    if options.remove:
        print("the mesh is removed" if record.remove() else "no mesh was kept")
        return 0
    try:
        if record.kept:
            return look_again(record)
        if record.end_hosts():
            print("removed what an interrupted demo had left")
        return try_out(record, checking=options.check)
    except (KeyboardInterrupt, EOFError):
        print()
        return 130


if __name__ == "__main__":
    sys.exit(main())
