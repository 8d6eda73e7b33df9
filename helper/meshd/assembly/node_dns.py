"""The DNS server of a node: started with the mesh, tried again while its port is taken, and reported."""

from __future__ import annotations

import asyncio
import logging

from meshproto import local_pb2

from meshd import defaults
from meshd.assembly.mesh import Mesh
from meshd.model.addresses import Pools
from meshd.model.errors import MeshError
from meshd.model.members import Member
from meshd.naming.dns_server import DnsServer
from meshd.naming.forwarding import Forwarder
from meshd.naming.resolv_conf import Resolvers
from meshd.naming.zone import Address, Network, Zone
from meshd.observe.port_owner import port_owner

log = logging.getLogger(__name__)

TRY_AGAIN = 5.0
"""Seconds until a port that was taken is tried again."""


class NodeDns:
    """`run` is a task of the node's duties and stops the server when it is cancelled."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._made_from: object = None
        self._zone: Zone | None = None
        self.problem: MeshError | None = None

    async def run(self, me: Member) -> None:
        """Listens and waits."""
        mesh = self._mesh
        addresses: list[Address] = [me.ipv4, me.ipv6] if mesh.ipv6 else [me.ipv4]
        resolvers = Resolvers(lambda address: self._current(me).covers(address))
        server = DnsServer(lambda: self._current(me), Forwarder(resolvers.current), port_owner)
        try:
            while True:
                try:
                    self._current(me)
                    await server.start(addresses, defaults.DNS_PORT)
                    break
                except MeshError as error:
                    self._failed(error)
                await asyncio.sleep(TRY_AGAIN)
            if self.problem is not None:
                mesh.event("names", f"dns: answers on {me.ipv4} now")
                self.problem = None
            await asyncio.Event().wait()
        finally:
            await server.stop()

    def _failed(self, error: MeshError) -> None:
        if self.problem is None or self.problem.message != error.message:
            log.warning("%s: dns: %s", self._mesh.name, error)
            self._mesh.event("names", f"dns: {error}; names are in the hosts files only", severity="warning")
        self.problem = error

    def _current(self, me: Member) -> Zone:
        """Made again only when the members have changed. Raises InvalidInput when there never was a good one."""
        mesh = self._mesh
        if self._zone is not None and mesh.members is self._made_from:
            return self._zone
        try:
            self._zone = _zone(mesh, mesh.members.get(me.id, me).name)
        except MeshError as error:
            if self._zone is None:
                raise
            log.error("%s: dns: the names stay as they were: %s", mesh.name, error)
        self._made_from = mesh.members
        return self._zone

    def checks(self) -> list[local_pb2.Check]:
        """What doctor says."""
        problem = self.problem
        return [
            local_pb2.Check(
                check=f"dns {self._mesh.name}",
                state=local_pb2.WARNING if problem else local_pb2.OK,
                found=f"{problem.message}; names are in the hosts files only" if problem else "answers members",
                fix=problem.fix if problem else "",
            )
        ]


def _zone(mesh: Mesh, server: str) -> Zone:
    settings, members = mesh.state.settings, mesh.members.values()
    pools = Pools.from_settings(settings)
    networks: list[Network] = [pools.peer_pool, pools.ula, pools.transport]
    networks += [member.subnet for member in members if member.subnet]
    return Zone(settings.dns_domain, members, networks, mesh.state.position.revision, server)
