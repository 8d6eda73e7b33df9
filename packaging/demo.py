"""Builds the demo's mesh from the lab's hosts; `packaging/demo` starts it. The product never imports this."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from kept import keep, kept, remove_kept
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network

GATEWAYS = ("gw-berlin", "gw-paris", "gw-oslo")
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


def build(network: Network, steps: Steps) -> tuple[list[Host], list[Host]]:
    """Three gateways and two laptops in one mesh, connected."""
    gateways = [network.host(name) for name in GATEWAYS]
    laptops = [network.host("laptop-ada"), network.host("laptop-grace", nat=True)]
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


def check(network: Network, gateways: list[Host], laptops: list[Host], steps: Steps) -> None:
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
    answer = input("\nThe mesh still runs. [k]eep it or [r]emove it? [r] ")
    return answer.strip().lower() in ("k", "keep")


def say_kept(enter: list[str]) -> None:
    print(f"""
It is kept. Look again:  ./packaging/demo
A shell on laptop-ada:   {" ".join(enter)} env PATH={BIN}:$PATH bash
Remove it:               ./packaging/demo --remove""")


def look_again() -> int:
    """The mesh that was kept."""
    ada = next(host for host in kept() if host.name == "laptop-ada")
    try:
        if watch(ada.enter):
            say_kept(ada.enter)
            return 0
    except AssertionError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    remove_kept()
    print("the mesh is removed")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="try everything without a terminal, then remove it")
    parser.add_argument("--remove", action="store_true", help="remove the mesh that was kept")
    options = parser.parse_args()
    if options.remove:
        print("the mesh is removed" if remove_kept() else "no mesh was kept")
        return 0
    if not options.check and not sys.stdin.isatty():
        print("demo: no terminal; ./packaging/demo --check needs none", file=sys.stderr)
        return 2
    hosts = kept()
    if hosts and not options.check:
        if all(host.runs for host in hosts):
            return look_again()
        remove_kept()
    steps = Steps()
    began = time.monotonic()
    network = Network()
    keeping = False
    try:
        gateways, laptops = build(network, steps)
        if options.check:
            check(network, gateways, laptops, steps)
            remove([*gateways, *laptops], steps)
        else:
            keeping = watch(laptops[0].enter)
            if keeping:
                keep([*network.hosts.values(), network.router])
                say_kept(laptops[0].enter)
                return 0
    except AssertionError as error:
        print(f"\ndemo: {error}\n\n{network.logs()}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        return 130
    finally:
        if not keeping:
            network.close()
    print(f"\n{'all good' if options.check else 'the mesh is removed'}: {time.monotonic() - began:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
