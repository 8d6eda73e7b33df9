"""Reads, compares and applies one mesh's plan on this machine; removes all of it again."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from pathlib import Path

from meshd.dataplane import firewall, kernel_network, sysctls
from meshd.dataplane.desired import Desired, Network, RouteKind
from meshd.dataplane.difference import (
    Actual,
    AddAddress,
    AddRoute,
    ChangeDevice,
    Operation,
    RemoveAddress,
    RemoveRoute,
    SetFirewall,
    SetLink,
    SetSysctl,
    difference,
)
from meshd.dataplane.wireguard.backend import Backend
from meshd.model.errors import Failed

log = logging.getLogger(__name__)


class HostNetwork:
    """`apply` is safe to call at any time: it changes only what differs, and says what that was."""

    def __init__(self, backend: Backend, state_dir: Path) -> None:
        self._backend = backend
        self._saved = sysctls.SavedSysctls(state_dir / "sysctls.json")
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._firewalls: dict[str, tuple[object, str]] = {}  # interface -> (what was set, digest after it)

    async def apply(self, desired: Desired) -> tuple[Operation, ...]:
        """Brings the machine to the plan; returns what was done. Raises Failed with the first thing that can't be."""
        async with self._locks[desired.interface]:
            made = await self._backend.create(desired.interface, desired.mtu)
            device = await self._backend.read(desired.interface)
            ipv6 = any(address.version == 6 for address in desired.addresses)
            known = self._firewalls.get(desired.interface)
            target = known[1] if known is not None and known[0] == desired.firewall else "unset"

            def read() -> tuple[Actual, dict[str, str]]:
                link = kernel_network.link_state(desired.interface)
                if link is None:
                    raise Failed(f"interface {desired.interface} is gone", "meshd makes it again by itself")
                own = frozenset(route.destination for route in desired.routes if route.kind is RouteKind.UNREACHABLE)
                needed = sysctls.wanted(desired.interface, desired.forwarding, ipv6)
                actual = Actual(
                    device,
                    link[1],
                    link[2],
                    kernel_network.addresses_of(desired.interface),
                    kernel_network.routes_of(desired.interface, own),
                    firewall.digest(desired.interface),
                    {name: value for name in needed if (value := sysctls.read(name)) is not None},
                )
                return actual, needed

            actual, needed = await asyncio.to_thread(read)
            operations = difference(desired, actual, target, needed)
            for operation in operations:
                await self._execute(desired, operation)
            if made:
                log.info("interface %s is made", desired.interface)
            return operations

    async def _execute(self, desired: Desired, operation: Operation) -> None:
        interface = desired.interface
        match operation:
            case ChangeDevice(change):
                await self._backend.apply(interface, change)
            case SetFirewall():
                after = await asyncio.to_thread(firewall.apply, interface, desired.firewall)
                self._firewalls[interface] = (desired.firewall, after)
            case SetSysctl(name, value):
                await asyncio.to_thread(self._saved.set, interface, name, value)
            case SetLink(mtu, _):
                await asyncio.to_thread(kernel_network.set_link, interface, mtu)
            case AddAddress(address):
                await asyncio.to_thread(kernel_network.add_address, interface, address)
            case RemoveAddress(address):
                await asyncio.to_thread(kernel_network.remove_address, interface, address)
            case AddRoute(route):
                await asyncio.to_thread(kernel_network.add_route, interface, route)
            case RemoveRoute(route):
                await asyncio.to_thread(kernel_network.remove_route, interface, route)

    async def remove(self, interface: str, unreachable: frozenset[Network]) -> None:
        """Takes away everything of the mesh on this machine; also what a killed helper left behind.

        `unreachable` are the networks of its routes that no interface holds, and so no interface takes along.
        """
        async with self._locks[interface]:
            self._firewalls.pop(interface, None)
            await asyncio.to_thread(firewall.remove, interface)
            await self._backend.delete(interface)
            await asyncio.to_thread(kernel_network.remove_unreachable, unreachable)
            await asyncio.to_thread(self._saved.restore, interface)
