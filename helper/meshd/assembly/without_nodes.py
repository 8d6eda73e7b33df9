"""While no node answers: peers are tried where the mesh last knew them, so that they can go on talking, and nodes are
asked outside of the tunnel whether the mesh was restored and they have new keys. Nodes ask, too, alone or without a
primary; with one they ask those that they miss, and only tell what they hear."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from meshd.assembly.other_world import OtherWorld
from meshd.clocks import boottime
from meshd.cluster.outside_view import Address, ask_for_view, renewed_nodes
from meshd.dataplane.desired import UdpEndpoint
from meshd.dataplane.wireguard.backend import DeviceChange, PeerChange, anew
from meshd.model.members import Member, Role
from meshd.paths.probing import ALIVE

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh
    from meshd.assembly.sessions import Sessions

log = logging.getLogger(__name__)

ASK_EVERY = 15.0
"""Seconds between two times that the nodes are asked outside of the tunnel."""

TRY_TIME = 6.0
"""Seconds that one endpoint has to answer: WireGuard repeats a handshake after 5 s."""


class WithoutNodes:
    """`look` is called every two seconds. Sets endpoints only: what nobody talks to gets no packet."""

    def __init__(self, mesh: Mesh, sessions: Sessions) -> None:
        self._mesh = mesh
        self._sessions = sessions
        self._asking: asyncio.Task[None] | None = None
        self._asked = 0.0
        self._led = boottime()  # when there was a primary last
        self._turns: dict[str, tuple[int, float]] = {}  # which endpoint, and since when (boottime)
        self.other_world = OtherWorld(mesh, self._places)

    async def look(self, me: Member) -> None:
        """Raises MeshError."""
        sessions, members = self._sessions, self._mesh.members.values()
        nodes = [one for one in members if one.role is Role.NODE and one.id != me.id]
        silent = [node for node in nodes if not sessions.prober.alive(node.ipv4)]
        alone = len(silent) == len(nodes)
        now, changes = boottime(), []
        if self._followed(me, alone, now) or not nodes or sessions.running_for() < ALIVE:
            await self._undo()
            if me.role is Role.NODE and sessions.running_for() >= ALIVE:
                self.other_world.look(silent, nodes)
            return
        if now - self._asked > ASK_EVERY and (self._asking is None or self._asking.done()):
            self._asked = now
            self._asking = asyncio.create_task(self._ask(me, nodes), name=f"{self._mesh.name}: asking outside")
        if me.role is Role.NODE:
            return
        for member in [one for one in members if one.role is Role.PEER and one.id != me.id and one.enabled]:
            turn, since = self._turns.get(member.id, (-1, 0.0))
            if sessions.is_straight(member) and (sessions.is_fresh(member) or (turn >= 0 and now - since < TRY_TIME)):
                continue
            endpoints = await self._endpoints(member)
            if endpoints:
                self._turns[member.id] = turn + 1, now
                endpoint = endpoints[(turn + 1) % len(endpoints)]
                changes.append(PeerChange(member.public_key, update_only=True, endpoint=endpoint))
        if changes:
            await self._mesh.machine.backend.apply(self._mesh.choices.interface, DeviceChange(peers=tuple(changes)))

    def _followed(self, me: Member, alone: bool, now: float) -> bool:
        """Whether nobody has to be asked. A node that hears others asks when they have had no primary for a while."""
        duties = self._mesh.duties
        if duties is None or duties.writable:
            self._led = now
        return not alone and (me.role is Role.PEER or now - self._led < ALIVE)

    async def _undo(self) -> None:
        """A node is there again: endpoints that never answered are given up, so that sessions start over a relay."""
        tried, self._turns = self._turns, {}
        device = self._sessions.device
        changes = []
        for member_id in tried:
            member = self._mesh.members.get(member_id)
            peer = device.peers.get(member.public_key) if device and member else None
            if member is not None and peer is not None and not self._sessions.is_fresh(member):
                changes += [
                    PeerChange(member.public_key, remove=True),
                    anew(peer, self._sessions.relay_endpoint(member)),
                ]
        if changes:
            await self._mesh.machine.backend.apply(self._mesh.choices.interface, DeviceChange(peers=tuple(changes)))

    async def stop(self) -> None:
        await self.other_world.stop()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self, me: Member, nodes: list[Member]) -> None:
        mesh = self._mesh
        known = {node.id: node for node in nodes}
        state = await ask_for_view(mesh.identity, await self._places(nodes), known, mesh.state.position)
        if state is None:
            return
        if me.role is Role.PEER:
            log.info("%s: took over %s from outside of the tunnel", mesh.name, state.position)
            mesh.event("state", "no node answered in the tunnel; one outside of it said how the mesh is now")
            mesh.set_state(state)
            return
        renewed = renewed_nodes(mesh.identity, state, known)
        if renewed:  # all else comes by Redis, from them: what a node is told here is not the whole
            names = ", ".join(sorted(known[one.id].name for one in renewed))
            log.info("%s: %s have new keys as of %s, told outside of the tunnel", mesh.name, names, state.position)
            mesh.event("state", f"the mesh was restored meanwhile: new keys of {names}, told outside of the tunnel")
            mesh.renew(renewed, state.position)

    async def _places(self, nodes: Sequence[Member]) -> list[tuple[Address, int]]:
        """Where nodes may answer outside of the tunnel."""
        places = []
        for node in nodes:
            stored = self._mesh.state.members.get(node.id)
            if stored is not None and stored.join_port:
                places += [(one.address, stored.join_port) for one in await self._endpoints(node)]
        return list(dict.fromkeys(places))

    async def _endpoints(self, member: Member) -> list[UdpEndpoint]:
        found: list[UdpEndpoint] = []
        for endpoint in member.endpoints:
            found += await self._sessions.usable(endpoint)
        return [one for one in dict.fromkeys(found) if not self._mesh.addresses.is_inside(one.address)]
