"""What systemd-resolved is told of a mesh's interface: which names go to the nodes' DNS, over org.freedesktop.resolve1.

It forgets everything with the interface, and when it restarts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from meshd.system_bus import RESOLVED, BusError, SystemBus

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PATH, INTERFACE = "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager"

STUBS = (ip_address("127.0.0.53"), ip_address("127.0.0.54"))
"""Where resolved itself answers DNS (man systemd-resolved): a resolv.conf that names one leads every program there."""

DOMAINS = 64
"""Of one interface; resolved takes 256."""

_GONE = (f"{RESOLVED}.NoSuchLink", "org.freedesktop.DBus.Error.NameHasNoOwner")
_AF = {4: 2, 6: 10}  # AF_INET, AF_INET6


@dataclass(frozen=True, slots=True)
class LinkNames:
    """Names below `domains` go to `servers`, and no others."""

    servers: tuple[Address, ...]
    domains: tuple[str, ...]

    def same_as(self, other: LinkNames) -> bool:
        """Whether they differ in order alone."""
        return set(self.servers) == set(other.servers) and set(self.domains) == set(other.domains)


def reverse_domains(networks: Iterable[Network]) -> list[str]:
    """The zones of addresses in these networks, those that end at a dot: others hold addresses of strangers, too."""
    found = []
    for network in sorted(set(networks), key=str):
        step = 8 if network.version == 4 else 4
        if network.prefixlen and network.prefixlen % step == 0:
            labels = network.network_address.reverse_pointer.split(".")
            found.append(".".join(labels[(network.max_prefixlen - network.prefixlen) // step :]))
    return found


def leads_to_resolved(resolvers: Sequence[Address]) -> bool:
    """Whether programs that read resolv.conf ask systemd-resolved: the first one there is its own."""
    return bool(resolvers) and resolvers[0] in STUBS


async def set_link(bus: SystemBus, index: int, names: LinkNames) -> None:
    """Raises BusError; then some of it may be in force."""

    async def call(member: str, signature: str, *body: Any) -> None:
        await bus.call(RESOLVED, PATH, INTERFACE, member, signature, [index, *body])

    # Domains first: with servers alone, resolved would send every name there for a moment.
    await call("SetLinkDefaultRoute", "ib", False)
    await call("SetLinkDomains", "ia(sb)", [[domain, True] for domain in names.domains[:DOMAINS]])
    await call("SetLinkDNSSEC", "is", "no")  # private zones are not signed
    await call("SetLinkDNSOverTLS", "is", "no")  # the tunnel is encrypted
    await call("SetLinkLLMNR", "is", "no")
    await call("SetLinkMulticastDNS", "is", "no")
    await call("SetLinkDNS", "ia(iay)", [[_AF[one.version], one.packed] for one in names.servers])


async def revert_link(bus: SystemBus, index: int) -> None:
    """Takes everything back. Raises BusError; not for an interface or a resolved that is gone."""
    try:
        await bus.call(RESOLVED, PATH, INTERFACE, "RevertLink", "i", [index])
    except BusError as problem:
        if problem.name not in _GONE:
            raise


async def read_link(bus: SystemBus, index: int) -> LinkNames:
    """What resolved knows of that interface. Raises BusError."""

    async def get(what: str) -> list[Any]:
        arguments = [INTERFACE, what]
        (found,) = await bus.call(RESOLVED, PATH, "org.freedesktop.DBus.Properties", "Get", "ss", arguments)
        return [entry[1:] for entry in found.value if entry[0] == index]

    servers, domains = await get("DNS"), await get("Domains")
    try:
        return LinkNames(tuple(ip_address(address) for _, address in servers), tuple(domain for domain, _ in domains))
    except (ValueError, TypeError) as error:
        raise BusError(f"{RESOLVED} says what can't be read: {error}") from error
