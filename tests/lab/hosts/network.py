"""An underlay: a router with separate subnets, hosts on them, NAT where wanted. Documentation prefixes only."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.hosts.host import Host, wait_until

_counter = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Link:
    """Where a host hangs on the router; kept so that a rebooted host is attached again."""

    number: int
    ipv4: str | None
    ipv6: str | None
    gateway4: str | None
    gateway6: str | None
    nat: bool


def _link(ipv4: bool, ipv6: bool, nat: bool) -> Link:
    number = next(_counter) % 60 + 1
    if nat:
        ipv4_text, gateway4 = f"192.168.{number}.2/24", f"192.168.{number}.1/24"
    else:
        base = number * 4
        ipv4_text, gateway4 = f"198.51.100.{base + 2}/30", f"198.51.100.{base + 1}/30"
    return Link(
        number,
        ipv4_text if ipv4 else None,
        f"2001:db8:{number:x}::2/64" if ipv6 else None,
        gateway4 if ipv4 else None,
        f"2001:db8:{number:x}::1/64" if ipv6 else None,
        nat,
    )


class Network:
    """`attach` gives a host a subnet of its own; `close` destroys everything."""

    def __init__(self) -> None:
        self.router = Host("router")
        self.router.run("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
        self.router.run("nft add table ip nat; nft 'add chain ip nat post { type nat hook postrouting priority 100; }'")
        self.hosts: dict[str, Host] = {}
        self._links: dict[str, Link] = {}

    def host(self, name: str, *, ipv4: bool = True, ipv6: bool = True, nat: bool = False) -> Host:
        """A new host on its own subnet. Behind NAT it has a private IPv4 address and no IPv6."""
        self.hosts[name], self._links[name] = Host(name), _link(ipv4, ipv6 and not nat, nat)
        self.attach(name)
        return self.hosts[name]

    def unplug(self, name: str) -> None:
        """Takes the cable away, and with it the host's addresses."""
        self.router.run(f"ip link del lk{self._links[name].number} 2>/dev/null", check=False)

    def move(self, name: str) -> None:
        """Takes the host to another subnet: another cable, other addresses."""
        old = self._links[name]
        self.unplug(name)
        self._links[name] = _link(old.ipv4 is not None, old.ipv6 is not None, old.nat)
        self.attach(name)

    def attach(self, name: str) -> None:
        """Plugs the cable in: also after `power_on`."""
        host, link = self.hosts[name], self._links[name]
        inside = f"lk{link.number}"
        self.router.run(f"ip link del {inside} 2>/dev/null", check=False)
        subprocess.run(
            ["ip", "link", "add", inside, "netns", str(self.router.pid), "type", "veth",
             "peer", "name", "eth0", "netns", str(host.pid)],
            check=True,
        )  # fmt: skip
        host.run("ip link set eth0 up")
        self.router.run(f"ip link set {inside} up")
        for side, interface, address in (
            (host, "eth0", link.ipv4), (host, "eth0", link.ipv6),
            (self.router, inside, link.gateway4), (self.router, inside, link.gateway6),
        ):  # fmt: skip
            if address:
                side.run(f"ip addr add {address} dev {interface} {'nodad' if ':' in address else ''}")
        if link.gateway4:
            host.run(f"ip route add default via {link.gateway4.split('/')[0]}")
        if link.gateway6:
            host.run(f"ip -6 route add default via {link.gateway6.split('/')[0]}")
        if link.nat and link.ipv4:
            # The outside address of the NAT is the router's own on every other subnet.
            subnet = f"192.168.{link.number}.0/24"
            rules = self.router.run("nft list chain ip nat post").stdout
            if subnet not in rules:
                self.router.run(f"nft add rule ip nat post ip saddr {subnet} masquerade")
            block = f"nft add rule inet nat{link.number} fwd_ ip daddr {subnet} ct state new drop"
            self.router.run(f"nft add table inet nat{link.number}")
            self.router.run(
                f"nft 'add chain inet nat{link.number} fwd_ {{ type filter hook forward priority 0; }}'; {block}"
            )

    def address(self, name: str) -> str:
        """The host's underlay IPv4 address, else its IPv6 one."""
        link = self._links[name]
        return (link.ipv4 or link.ipv6 or "").split("/")[0]

    def gateway(self, name: str) -> str:
        """The router's IPv4 address on the host's subnet."""
        return (self._links[name].gateway4 or "").split("/")[0]

    def address6(self, name: str) -> str:
        """The host's underlay IPv6 address."""
        return (self._links[name].ipv6 or "").split("/")[0]

    def slow(self, seconds: float) -> None:
        """From now on every packet between hosts takes that much longer; a round trip twice as much."""
        program = Path(__file__).with_name("slow_links.py")
        self.router.record([sys.executable, str(program), str(seconds)], "slow")
        wait_until(lambda: "ready" in self.router.recorded("slow"), 10, "the links to be slow")

    def add_lan_host(self, gateway: str, subnet: str, address: str) -> Host:
        """A host without meshd behind a gateway: on its own LAN, with the gateway as its only way out."""
        host = Host(f"{gateway}-lan")
        self.hosts[host.name] = host
        router = self.hosts[gateway]
        subprocess.run(
            ["ip", "link", "add", "lan0", "netns", str(router.pid), "type", "veth",
             "peer", "name", "eth0", "netns", str(host.pid)],
            check=True,
        )  # fmt: skip
        prefix = subnet.split("/")[1]
        router_address = str(subnet.rsplit(".", 1)[0]) + ".1"
        router.run(f"ip link set lan0 up; ip addr add {router_address}/{prefix} dev lan0")
        host.run(f"ip link set eth0 up; ip addr add {address}/{prefix} dev eth0")
        return host

    def close(self) -> None:
        """Ends every host. Raises AssertionError when a meshd logged a fault of ours, whatever the test looked at."""
        faults = [f"{host.name}: {fault}" for host in self.hosts.values() for fault in host.faults()]
        for host in [*self.hosts.values(), self.router]:
            host.destroy()
        assert not faults, "\n".join(faults)

    def logs(self, names: Iterable[str] = ()) -> str:
        chosen = list(names) or list(self.hosts)
        return "\n".join(f"--- {name}\n{self.hosts[name].log()[-4000:]}" for name in chosen)
