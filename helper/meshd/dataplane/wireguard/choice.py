"""Which WireGuard this machine uses, and why (doctor and the log say it); and the backend that follows that choice.

An interface that is alive stays with the backend that serves it, whatever is chosen for new ones.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

from meshd.dataplane.wireguard import kernel
from meshd.dataplane.wireguard.backend import Backend, DeviceChange, DeviceState
from meshd.dataplane.wireguard.userspace import find_binary
from meshd.model.errors import Failed, MeshError
from meshd.programs import install


@dataclass(frozen=True, slots=True)
class Choice:
    """What new interfaces are made with. `problem` is why none can be made, None when all is well."""

    backend: str  # "kernel" or "userspace"
    reason: str
    problem: MeshError | None = None


@dataclass(frozen=True, slots=True)
class Probes:
    """What can be found out about this machine; each raises Failed, with the fix, when that backend can't work."""

    kernel: Callable[[], None]
    userspace: Callable[[], None]


def probe_userspace() -> None:
    """Raises Failed when wireguard-go can't run here. Blocks."""
    if find_binary() is None:
        raise Failed("wireguard-go is not installed", install("wireguard-go"), "missing")
    if not os.path.exists("/dev/net/tun"):
        raise Failed("wireguard-go needs /dev/net/tun, which is missing", "modprobe tun", "missing")


MACHINE = Probes(kernel.probe, probe_userspace)


def choose_backend(setting: str, probes: Probes = MACHINE) -> Choice:
    """`setting` is auto, kernel or userspace. Blocks."""
    if setting != "auto":
        problem = _try(probes.kernel if setting == "kernel" else probes.userspace)
        return Choice(setting, "it was asked for" if problem is None else problem.message, problem)
    without_kernel = _try(probes.kernel)
    if without_kernel is None:
        return Choice("kernel", "this kernel has WireGuard")
    without_userspace = _try(probes.userspace)
    if without_userspace is None:
        return Choice("userspace", without_kernel.message)
    problem = Failed(
        f"neither WireGuard works: {without_kernel.message}; {without_userspace.message}",
        f"either one: {without_kernel.fix.partition(',')[0]}; or {without_userspace.fix}",
        "missing",
    )
    return Choice("userspace", problem.message, problem)


def _try(probe: Callable[[], None]) -> MeshError | None:
    try:
        probe()
    except MeshError as error:
        return error
    return None


class ChosenBackend:
    """Both backends as one. `choice` is made by `choose_again`, which whoever owns this calls first."""

    def __init__(self, setting: str, kernel: Backend, userspace: Backend, probes: Probes = MACHINE) -> None:
        self._setting = setting
        self._probes = probes
        self._backends = {"kernel": kernel, "userspace": userspace}
        self._serving: dict[str, str] = {}  # interface -> backend
        self.choice = Choice("userspace", "not looked yet", Failed("not looked yet"))

    async def choose_again(self) -> Choice:
        """Looks at the machine: something may have been installed."""
        self.choice = await asyncio.to_thread(choose_backend, self._setting, self._probes)
        return self.choice

    @property
    def name(self) -> str:
        return self.choice.backend

    def name_of(self, interface: str) -> str:
        """The backend that serves the interface, or would."""
        return self._serving.get(interface, self.choice.backend)

    def reason_of(self, interface: str) -> str:
        if self.name_of(interface) == self.choice.backend:
            return self.choice.reason
        return "the interface was up already; `meshctl down` and `up` change it"

    async def _find(self, interface: str) -> Backend | None:
        """The backend that has the interface alive."""
        first = self.name_of(interface)
        for name in sorted(self._backends, key=lambda one: one != first):
            if await self._backends[name].exists(interface):
                self._serving[interface] = name
                return self._backends[name]
        return None

    async def create(self, interface: str, mtu: int) -> bool:
        found = await self._find(interface)
        if found is not None:
            return await found.create(interface, mtu)
        if interface not in self._serving:
            choice = await self.choose_again()
            if choice.problem is not None:
                raise Failed(choice.problem.message, choice.problem.fix, choice.problem.code)
            self._serving[interface] = choice.backend
        return await self._backends[self._serving[interface]].create(interface, mtu)

    async def exists(self, interface: str) -> bool:
        return await self._find(interface) is not None

    async def read(self, interface: str) -> DeviceState:
        return await self._backends[self.name_of(interface)].read(interface)

    async def apply(self, interface: str, change: DeviceChange) -> None:
        await self._backends[self.name_of(interface)].apply(interface, change)

    async def delete(self, interface: str) -> None:
        for backend in self._backends.values():
            await backend.delete(interface)
        self._serving.pop(interface, None)

    async def close(self) -> None:
        for backend in self._backends.values():
            await backend.close()
