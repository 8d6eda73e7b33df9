"""Reads, compares and applies one mesh's plan on this machine; removes all of it again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

from meshd.dataplane import kernel_network, sysctls
from meshd.dataplane.desired import Desired, Network, RouteKind
from meshd.dataplane.difference import Actual, difference
from meshd.dataplane.firewall import Tables
from meshd.dataplane.operations import (
    AddAddress,
    AddRoute,
    ChangeDevice,
    MakeInterface,
    Operation,
    RemoveAddress,
    RemoveRoute,
    ReplaceRoute,
    SetFirewall,
    SetLink,
    SetSysctl,
)
from meshd.dataplane.owned import OwnedRoutes
from meshd.dataplane.wireguard.backend import Backend, DeviceState
from meshd.model.errors import Failed, MeshError

log = logging.getLogger(__name__)

FOLDER = ".network"
"""In the state folder, beside those of the meshes: no mesh can have that name."""


class HostNetwork:
    """`apply` is safe to call at any time: it changes only what differs, and says what that was.

    `state_dir` keeps what is needed to take everything away again, also by a fresh process after a crash.
    """

    def __init__(self, backend: Backend, state_dir: Path) -> None:
        folder = self._folder = state_dir / FOLDER
        self._backend = backend
        self._saved = sysctls.SavedSysctls(folder / "sysctls.json")
        self._owned = OwnedRoutes(folder)
        self._tables = Tables()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def read(self, desired: Desired) -> Actual:
        """What this machine has of the mesh now."""
        if not await self._backend.exists(desired.interface):
            return await asyncio.to_thread(self._read_without_interface, desired)
        device = await self._backend.read(desired.interface)
        return await asyncio.to_thread(self._read_with_interface, desired, device)

    def _read_without_interface(self, desired: Desired) -> Actual:
        return Actual(
            None,
            firewall=self._tables.read(desired.interface),
            sysctls=sysctls.read_settings(desired.interface, kernel_network.uplinks()),
            ipv6=kernel_network.has_ipv6(),
        )

    def _read_with_interface(self, desired: Desired, device: DeviceState) -> Actual:
        interface = desired.interface
        found = kernel_network.read_interface(interface, self._owned.read(interface) | _unreachable(desired))
        if found is None:
            raise Failed(f"interface {interface} is gone", "meshd makes it again by itself")
        return Actual(
            device=device,
            up=found.up,
            mtu=found.mtu,
            addresses=found.addresses,
            routes=found.routes,
            firewall=self._tables.read(interface),
            sysctls=sysctls.read_settings(interface, found.uplinks),
            ipv6=kernel_network.has_ipv6(interface),
        )

    async def apply(self, desired: Desired) -> tuple[Operation, ...]:
        """Brings the machine to the plan; returns what was done.

        When an address, a route or a sysctl can't be set, the rest is done before the first such error is raised.
        """
        interface = desired.interface
        async with self._locks[interface]:
            await asyncio.to_thread(self._owned.add, interface, _unreachable(desired))
            made = await self._backend.create(interface, desired.mtu)
            actual = await self.read(desired)
            needed = sysctls.needed(actual.sysctls, interface, desired.forwarding)
            await asyncio.to_thread(self._saved.claim, interface, needed)
            problems: list[MeshError] = []
            done: list[Operation] = [MakeInterface(interface)] if made else []
            # In a thread: 50 ms for 3,000 peers is too long for the loop, which keeps the primary's lease.
            for operation in await asyncio.to_thread(difference, desired, actual):
                log.debug("%s: %s", interface, operation.describe())
                try:
                    await self._execute(desired, operation)
                except MeshError as error:
                    if isinstance(operation, MakeInterface | ChangeDevice | SetFirewall | SetLink):
                        raise
                    problems.append(error)
                else:
                    done.append(operation)
            if problems:
                raise problems[0]
            return tuple(done)

    async def _execute(self, desired: Desired, operation: Operation) -> None:
        interface = desired.interface
        match operation:
            case MakeInterface():
                await self._backend.create(interface, desired.mtu)
            case ChangeDevice(change):
                await self._backend.apply(interface, change)
            case SetFirewall():
                await asyncio.to_thread(self._tables.set, interface, desired.firewall)
            case SetSysctl(name, value):
                await asyncio.to_thread(self._saved.set, interface, name, value)
            case SetLink(mtu):
                await asyncio.to_thread(self._saved.expect, interface, sysctls.SEND_REDIRECTS, "0")
                await asyncio.to_thread(kernel_network.set_link, interface, mtu)
            case AddAddress(address):
                await asyncio.to_thread(kernel_network.add_address, interface, address)
            case RemoveAddress(address):
                await asyncio.to_thread(kernel_network.remove_address, interface, address)
            case AddRoute(route):
                await asyncio.to_thread(kernel_network.add_route, interface, route)
            case ReplaceRoute(route):
                await asyncio.to_thread(kernel_network.replace_route, interface, route)
            case RemoveRoute(route):
                await asyncio.to_thread(kernel_network.remove_route, interface, route)

    async def remove(self, interface: str, unreachable: frozenset[Network] = frozenset()) -> None:
        """Takes away everything of the mesh on this machine; also what a killed helper left behind.

        `unreachable` adds to the networks that are noted in `state_dir`. What can be removed is, whatever fails.
        """
        async with self._locks[interface]:
            networks = unreachable | await asyncio.to_thread(self._owned.read, interface)
            problems: list[MeshError] = []
            steps: list[Callable[[], Awaitable[None]]] = [
                lambda: self._backend.delete(interface),
                lambda: asyncio.to_thread(kernel_network.remove_unreachable, networks),
                lambda: asyncio.to_thread(self._tables.remove, interface),
                lambda: asyncio.to_thread(self._saved.release, interface),
            ]
            for step in steps:
                try:
                    await step()
                except MeshError as error:
                    problems.append(error)
            if problems:
                raise problems[0]
            await asyncio.to_thread(self._owned.forget, interface)
            with contextlib.suppress(OSError):  # other meshes have something noted there
                await asyncio.to_thread(self._folder.rmdir)

    async def remove_all_but_identity(self) -> tuple[str, ...]:
        """Removes every interface that is noted in `state_dir`; returns their names. Identities are not touched."""
        interfaces = await asyncio.to_thread(self._owned.interfaces)
        for interface in interfaces:
            await self.remove(interface)
        return tuple(interfaces)


def _unreachable(desired: Desired) -> frozenset[Network]:
    return frozenset(route.destination for route in desired.routes if route.kind is RouteKind.UNREACHABLE)
