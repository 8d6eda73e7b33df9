"""While no node answers: peers are tried where the mesh last knew them, so that they can go on talking."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from meshd.dataplane.desired import UdpEndpoint
from meshd.dataplane.wireguard.backend import DeviceChange, PeerChange
from meshd.model.members import Member, Role
from meshd.paths.probing import ALIVE

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh
    from meshd.assembly.sessions import Sessions

log = logging.getLogger(__name__)

TRY_TIME = 6.0
"""Seconds that one endpoint has to answer: WireGuard repeats a handshake after 5 s."""


class WithoutNodes:
    """`look` is called every two seconds. Sets endpoints only: what nobody talks to gets no packet."""

    def __init__(self, mesh: Mesh, sessions: Sessions) -> None:
        self._mesh = mesh
        self._sessions = sessions
        self._turns: dict[str, tuple[int, float]] = {}  # which endpoint, and since when (CLOCK_MONOTONIC)

    async def look(self, me: Member) -> None:
        """Raises MeshError."""
        sessions, members = self._sessions, self._mesh.members.values()
        nodes = [one for one in members if one.role is Role.NODE]
        alone = me.role is Role.PEER and not any(sessions.prober.alive(node.ipv4) for node in nodes)
        if not alone or sessions.running_for() < ALIVE:
            self._turns.clear()
            return
        now, changes = time.monotonic(), []
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

    async def _endpoints(self, member: Member) -> list[UdpEndpoint]:
        found: list[UdpEndpoint] = []
        for endpoint in member.endpoints:
            found += await self._sessions.usable(endpoint)
        return [one for one in dict.fromkeys(found) if not self._mesh.is_inside(one.address)]
