"""How names of a mesh are resolved on this machine: by systemd-resolved, which asks nodes, or by the hosts file.

Names resolve all the time: the hosts file has them until resolved has taken over, and again as soon as no node answers
DNS or resolved ends. resolv.conf is read and never written. Owned by `mesh`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import TYPE_CHECKING

from meshproto import local_pb2

from meshd.assembly.host_names import HostNames
from meshd.model.addresses import Pools
from meshd.model.errors import MeshError
from meshd.model.members import Member, Role
from meshd.model.names import check_domain
from meshd.naming import node_probe, resolv_conf
from meshd.naming.resolved import (
    LinkNames,
    leads_to_resolved,
    read_link,
    reverse_domains,
    revert_link,
    set_link,
)
from meshd.system_bus import RESOLVED, BusError

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh

log = logging.getLogger(__name__)

SERVERS = 3
"""Nodes that resolved is told: it asks one, and the next when that one is silent."""

LOOK_EVERY = 2.0
"""Seconds between looks at which nodes are there."""

CHECK_EVERY = 8.0
"""Seconds between checks that their DNS answers and that resolved still has what it was told, and new tries."""

GOODBYE_LIMIT = 1.0
"""Seconds that `down` waits for resolved, which forgets the interface by itself, too."""


class Names:
    """`write` with every plan; `run` is a task of the mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._hosts = HostNames(
            mesh.name, mesh.machine.hosts_file, lambda text: mesh.event("names", text, severity="warning")
        )
        self._by_resolved = False  # every program here asks resolved, so the hosts file is not needed
        self._set: tuple[int, str, LinkNames] | None = None  # interface, resolved's unique name, what it was told
        self._clean = False  # nothing is left of an earlier meshd
        self._servers: list[Member] = []
        self._seen: set[str] = set()
        self._checked = 0.0
        self._why = "systemd-resolved does not run here"  # … so the hosts file has the names
        self._problem = ""
        self._look = asyncio.Event()

    async def write(self) -> None:
        """Raises Failed when the hosts file can't be written."""
        mesh = self._mesh
        members = [] if self._by_resolved else mesh.members.values()
        await self._hosts.write(members, mesh.state.settings.dns_domain, mesh.ipv6)

    async def remove(self) -> None:
        """Never fails."""
        try:
            async with asyncio.timeout(GOODBYE_LIMIT):
                await self._revert()
        except (BusError, TimeoutError) as error:
            log.info("%s: names in systemd-resolved end with the interface: %s", self._mesh.name, error)
        self._set, self._by_resolved = None, False
        await self._hosts.remove()

    def checks(self) -> list[local_pb2.Check]:
        """Which way names go, for `doctor`."""
        domain = self._mesh.state.settings.dns_domain
        if self._set is not None:
            found = f"systemd-resolved asks {', '.join(one.name for one in self._servers)} for *.{domain}"
            if not self._by_resolved:
                found += "; resolv.conf does not lead to it, so the hosts file has them, too"
        else:
            found = f"the hosts file has them: {self._why}" if self._mesh.machine.hosts_file else self._why
        state = local_pb2.WARNING if self._problem else local_pb2.OK
        fix = "see `resolvectl status`, and restart it: systemctl restart systemd-resolved" if self._problem else ""
        mine = local_pb2.Check(check=f"names {self._mesh.name}", state=state, found=found, fix=fix)
        return [mine] if self._by_resolved else [mine, *self._hosts.checks()]

    async def run(self) -> None:
        bus = self._mesh.machine.bus
        bus.on_owner.append(self._owner_changed)
        try:
            while True:
                self._look.clear()
                there = bool(bus.owner(RESOLVED))
                seen = {one.id for one in self._nodes()}
                if seen != self._seen or time.monotonic() - self._checked > CHECK_EVERY or not there:
                    self._seen, self._checked = seen, time.monotonic()
                    await self._follow()
                try:
                    async with asyncio.timeout(LOOK_EVERY if there else None):
                        await self._look.wait()
                except TimeoutError:
                    pass
        finally:
            bus.on_owner.remove(self._owner_changed)

    def _owner_changed(self, name: str, owner: str) -> None:
        if name == RESOLVED:
            self._checked = 0.0
            self._look.set()

    # --- resolved ---------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Has resolved know what it should; what it refuses is tried again."""
        owner = self._mesh.machine.bus.owner(RESOLVED)
        problem = ""
        try:
            if not owner:
                await self._use_hosts_file("systemd-resolved does not run here")
            elif not self._mesh.machine.split_dns:
                await self._use_hosts_file("switched off: split_dns")
            else:
                await self._use_resolved(owner)
        except BusError as error:
            problem = self._problem = str(error)
            await self._use_hosts_file(problem)
        self._problem = problem

    async def _use_resolved(self, owner: str) -> None:
        mesh, interface = self._mesh, self._mesh.choices.interface
        try:
            domain = check_domain(mesh.state.settings.dns_domain)
            index = socket.if_nametoindex(interface)
        except (MeshError, OSError) as error:
            await self._use_hosts_file(str(error))
            return
        self._servers = await self._answering(domain)
        if not self._servers:
            await self._use_hosts_file("no node answers DNS")
            return
        names = LinkNames(tuple(one.ipv4 for one in self._servers), (domain, *self._reverse_domains()))
        wanted = (index, owner, names)
        bus = mesh.machine.bus
        if self._set != wanted or not names.same_as(await read_link(bus, index)):
            if self._set == wanted:
                mesh.event("repair", f"repaired: names of {interface} in systemd-resolved", severity="warning")
            await set_link(bus, index, names)
            log.info("%s: systemd-resolved asks %s", mesh.name, ", ".join(one.name for one in self._servers))
        self._set, self._clean = wanted, True
        resolvers = await asyncio.to_thread(resolv_conf.read)
        await self._set_by_resolved(leads_to_resolved(resolvers))

    async def _use_hosts_file(self, why: str) -> None:
        self._why = why
        await self._set_by_resolved(False)
        try:
            await self._revert()
        except BusError as error:
            log.info("%s: %s", self._mesh.name, error)  # tried again
        self._set = None

    async def _set_by_resolved(self, by_resolved: bool) -> None:
        """The hosts file follows before anything else is done."""
        if by_resolved != self._by_resolved:
            self._by_resolved = by_resolved
            await self._mesh.reconcile()

    async def _revert(self) -> None:
        bus = self._mesh.machine.bus
        if self._set is None and self._clean:
            return
        if bus.owner(RESOLVED):
            try:
                index = socket.if_nametoindex(self._mesh.choices.interface)
            except OSError:  # with it everything went
                return
            await revert_link(bus, index)
            self._clean = True

    def _nodes(self) -> list[Member]:
        """Those that may be asked: this very node alone, else those that answer, as they were chosen before, then the
        nearest."""
        mesh = self._mesh
        if mesh.is_node:
            return [mesh.me] if mesh.me is not None else []
        nodes = [one for one in mesh.present if one.role is Role.NODE and mesh.sessions.prober.answered(one.ipv4)]
        kept = {one.id: place for place, one in enumerate(self._servers)}
        return sorted(
            nodes,
            key=lambda one: (kept.get(one.id, SERVERS), mesh.sessions.prober.contact(one.ipv4).rtt_ms, one.id),
        )

    async def _answering(self, domain: str) -> list[Member]:
        nodes = self._nodes()[: 2 * SERVERS]
        good = await asyncio.gather(*(node_probe.answers(one.ipv4, domain) for one in nodes))
        return [node for node, answers in zip(nodes, good, strict=True) if answers][:SERVERS]

    def _reverse_domains(self) -> list[str]:
        pools = Pools.from_settings(self._mesh.state.settings)
        subnets = [one.subnet for one in self._mesh.members.values() if one.subnet is not None]
        return reverse_domains([pools.peer_pool, pools.ula, *subnets])
