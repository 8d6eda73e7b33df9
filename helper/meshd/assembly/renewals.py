"""What starts sessions anew: nodes that went silent, peers that were away, and this machine after a sleep."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from meshd.clocks import boottime
from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerChange, anew
from meshd.model.errors import MeshError
from meshd.model.members import Member, Role
from meshd.paths.probing import INTERVAL

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh
    from meshd.assembly.sessions import Sessions

log = logging.getLogger(__name__)

RESTART_AFTER = 5.0
"""Seconds of unanswered probes after which a session is started anew, at the next endpoint."""

RESTART_AGAIN = 2.0
"""Seconds until that is done once more, while no handshake succeeds: WireGuard alone would send the next one after 5 s,
and members are to find each other sooner when a partition has healed."""

START_APART = 3.0
"""Seconds by which the two ends of a session start it anew one after the other."""

RENEW_LIMIT = 1.0
"""Seconds that a session may take to answer after one end was away, before it is started anew."""

REKEY_AFTER = 120.0
"""Seconds after which WireGuard makes new keys (REKEY_AFTER_TIME in its paper). wireguard-go does not count those in
which the machine slept, so after a sleep it would use keys that the other end has dropped."""

FORGET_AFTER = 190.0
"""Seconds without a handshake after which a silent peer's session is over at both ends (REJECT_AFTER_TIME: 180)."""

FORGOTTEN_AT_ONCE = 8


class Renewals:
    """`look` is called every two seconds with the interface as it was just read."""

    def __init__(self, mesh: Mesh, sessions: Sessions) -> None:
        self._mesh = mesh
        self._sessions = sessions
        self._restarted: dict[str, float] = {}
        self._were_online: set[str] = set()  # peers that were online once since the start
        self._away_since: dict[str, float] = {}  # peers that are not online
        self._due: dict[str, tuple[float, float]] = {}  # since when it was away, when to look
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"{self._mesh.name}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _others(self, me: Member, role: Role) -> list[Member]:
        return [one for one in self._mesh.members.values() if one.role is role and one.id != me.id]

    # --- looking ----------------------------------------------------------------------------------------------------

    async def look(self, me: Member, device: DeviceState) -> None:
        await self._restart_silent_nodes(me, device)
        self._renew_peers(me)
        await self._forget_dead(me, device)

    async def _restart_silent_nodes(self, me: Member, device: DeviceState) -> None:
        now, sessions = boottime(), self._sessions
        for node in [one for one in self._others(me, Role.NODE) if one.enabled and one.public_key in device.peers]:
            contact = sessions.prober.contact(node.ipv4)
            later = START_APART if me.role is Role.NODE and me.public_key > node.public_key else 0.0
            silent = contact.first_unanswered and now - contact.first_unanswered > RESTART_AFTER + later
            # A helper that is there probes us, too: when only ours go unanswered, the path is broken.
            away = sessions.carries(node) and contact.heard < contact.first_unanswered + INTERVAL
            if silent and not away and self._may_restart(node, first=not later):
                await self._restart(node)

    def _may_restart(self, member: Member, first: bool) -> bool:
        """Whether enough time has passed since it was done last. `first`: this is the end that starts sessions."""
        restarted = self._restarted.get(member.id, 0.0)
        answered = (self._sessions.handshake_at(member) or 0.0) > restarted
        return boottime() - restarted > (RESTART_AGAIN if first and not answered else RESTART_AFTER)

    def _renew_peers(self, me: Member) -> None:
        """After one of two peers was away, the other may hold a session that is gone there: it is started anew.

        A handshake since then, or an answer now, shows that it is not: perhaps only the helper was away. The lower
        key goes first, because two ends that start at once cost each other 5 s (FACTS).
        """
        if me.role is not Role.PEER:
            return
        sessions, peers, now = self._sessions, self._others(me, Role.PEER), boottime()
        cut = not any(sessions.prober.alive(node.ipv4) for node in self._others(me, Role.NODE))
        for member in peers:
            if cut or not sessions.is_online(member):
                if member.id in self._were_online:  # after a start of meshd, sessions go on as they were
                    self._away_since.setdefault(member.id, now)
                self._due.pop(member.id, None)
                continue
            self._were_online.add(member.id)
            since = self._away_since.pop(member.id, None)
            if since is not None and sessions.handshake_at(member):
                self._due[member.id] = (since, now + (START_APART if me.public_key > member.public_key else 0))
        for member in peers:
            since, due = self._due.get(member.id, (0.0, 0.0))
            if since and now >= due:
                del self._due[member.id]
                if (sessions.handshake_at(member) or 0.0) < since:
                    self._spawn(self._restart_unless_answered(member), f"session with {member.name}")
        known = {one.id for one in peers}
        self._were_online &= known
        self._away_since = {key: since for key, since in self._away_since.items() if key in known}
        self._due = {key: renewal for key, renewal in self._due.items() if key in known}

    async def _forget_dead(self, me: Member, device: DeviceState) -> None:
        """WireGuard takes no handshake that is older than the last one of that peer, so a peer whose clock was set back
        could not come back for as long as it was set back. A session that is over at both ends is made anew here,
        where nothing is under way: then any handshake of that peer is taken."""
        sessions, now = self._sessions, boottime()
        changes: list[PeerChange] = []
        for member in self._others(me, Role.PEER):
            peer = device.peers.get(member.public_key)
            if peer is None or peer.latest_handshake is None or sessions.prober.alive(member.ipv4):
                continue
            if now - (sessions.handshake_at(member) or now) > FORGET_AFTER and sessions.is_quiet(member):
                changes += [PeerChange(member.public_key, remove=True), anew(peer, peer.endpoint)]
        if changes:
            await self._apply(changes[: 2 * FORGOTTEN_AT_ONCE])

    # --- at once ----------------------------------------------------------------------------------------------------

    def renew_all(self, me: Member) -> None:
        """This machine slept, or is in another network: sessions with nodes go on or start anew now."""
        now = boottime()
        for node in self._others(me, Role.NODE):
            old = now - (self._sessions.handshake_at(node) or 0.0) > REKEY_AFTER
            work = self._restart_now(node) if old else self._restart_unless_answered(node)
            self._spawn(work, f"session with {node.name}")

    async def _restart_now(self, member: Member) -> None:
        if boottime() - self._restarted.get(member.id, 0.0) > RENEW_LIMIT:
            await self._restart(member)

    async def _restart_unless_answered(self, member: Member) -> None:
        if await self._sessions.prober.measure(member.ipv4, RENEW_LIMIT) is None and member.id in self._mesh.members:
            await self._restart(member)

    async def _restart(self, member: Member) -> None:
        """Removes and adds the peer in one set, at its next endpoint: WireGuard alone would need about 15 s."""
        device = self._sessions.device
        peer = device.peers.get(member.public_key) if device else None
        if peer is None:
            return
        self._restarted[member.id] = boottime()
        endpoint = await self._sessions.next_endpoint(member)
        log.info("%s: starting the session with %s anew", self._mesh.name, member.name)
        await self._apply([PeerChange(member.public_key, remove=True), anew(peer, endpoint or peer.endpoint)])
        self._sessions.prober.ping(member.ipv4)

    async def _apply(self, changes: list[PeerChange]) -> None:
        mesh = self._mesh
        try:
            await mesh.machine.backend.apply(mesh.choices.interface, DeviceChange(peers=tuple(changes)))
        except MeshError as error:
            log.warning("%s: %s", mesh.name, error)
