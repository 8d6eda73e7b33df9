"""Straight paths for sessions that are relayed: offer, test with a handshake, move without losing a packet.

A session in use over a relay asks the other side, through the tunnel, where it may be reached and to let a test key in
for some seconds. If one of those endpoints answers a handshake under that key, the session moves there: both sides
set the endpoint again and again for a moment, because packets still on the old path make WireGuard roam back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from meshproto import paths_pb2
from meshproto.keys import PrivateKey, PublicKey

from meshd.clocks import boottime
from meshd.dataplane import kernel_network
from meshd.dataplane.desired import UdpEndpoint
from meshd.dataplane.wireguard.backend import DeviceChange, PeerChange
from meshd.model.errors import MeshError
from meshd.model.members import Member, Role
from meshd.paths.attempts import Attempts, usable_candidates
from meshd.paths.handshake import try_endpoints

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh
    from meshd.assembly.sessions import Sessions

log = logging.getLogger(__name__)

LET_IN = 5.0
"""Seconds that the other side's test key is let in."""

OFFER_TIME = 1.5
"""Seconds until an offer without a reply is given up; it is sent again in between."""

TEST_TIME = 1.0
"""Seconds that the endpoints have to answer."""

MOVE_TIME = 0.3
"""Seconds in which the new endpoint is set again and again, and `MOVE_EVERY` between two sets (FACTS: 5 ms for 0.1 to
0.3 s loses nothing)."""

MOVE_EVERY = 0.005

BUSY_RATE = 600.0
"""Bytes per second, both ways together, above which a session counts as used. The probes of a straight path between two
peers make about 200."""

IDLE_AFTER = 180.0
"""Seconds without use after which a straight path is given up: its probes would keep it alive for ever."""

AT_ONCE = 4
"""Attempts that run at the same time."""

OFFER_PAUSE = 1.0
"""Seconds between two offers of one member that are taken."""


@dataclass(slots=True)
class _LetIn:
    key: PublicKey
    nonce: int
    until: float
    taken: float


class DirectPaths:
    """`look` is called every two seconds; `received` for each datagram about paths."""

    def __init__(self, mesh: Mesh, sessions: Sessions) -> None:
        self._mesh = mesh
        self._sessions = sessions
        self._attempts = Attempts()
        self._let_in: dict[str, _LetIn] = {}
        self._replies: dict[int, tuple[str, asyncio.Future[paths_pb2.DirectOffer]]] = {}
        self._moving: set[str] = set()
        self._trying: set[str] = set()
        self._used: dict[str, float] = {}
        self._counters: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def is_moving(self, member_id: str) -> bool:
        return member_id in self._moving

    def why_relayed(self, member_id: str) -> str:
        """What the last attempt found, for people; "" before the first."""
        return self._attempts.outcome(member_id)

    def test_keys(self) -> frozenset[PublicKey]:
        """The keys that are let in now, with no allowed-ips."""
        now = boottime()
        self._let_in = {key: one for key, one in self._let_in.items() if one.until > now and key in self._mesh.members}
        return frozenset(one.key for one in self._let_in.values())

    def watched(self, me: Member) -> list[Member]:
        """The peers whose straight path has to be probed."""
        if me.role is not Role.PEER:
            return []
        return [
            member
            for member in self._mesh.members.values()
            if member.role is Role.PEER
            and member.id != me.id
            and self._sessions.is_straight(member)
            and self._sessions.is_fresh(member)
        ]

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"{self._mesh.name}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- looking ----------------------------------------------------------------------------------------------------

    async def look(self, me: Member) -> None:
        """Starts attempts that are due; gives straight paths up that nobody uses."""
        now = boottime()
        members = {one.id: one for one in self._mesh.members.values() if one.id != me.id and one.enabled}
        self._count(members.values(), now)
        relayed = [one for one in members.values() if self._sessions.over_transport(one)]
        self._attempts.keep(one.id for one in relayed)
        for member in relayed:
            used = Role.NODE in (me.role, member.role) or now - self._used.get(member.id, -IDLE_AFTER) < 10
            if not used or not self._sessions.is_fresh(member) or member.id in self._trying:
                continue
            waits = me.public_key > member.public_key
            known = [*self._offered_by(member), *map(str, self._observed(me.id))]
            if len(self._trying) < AT_ONCE and self._attempts.due(member.id, now, waits, known):
                self._attempts.began(member.id, now)
                self._trying.add(member.id)
                self._spawn(self._try(me, member), f"path to {member.name}")
        for member in self.watched(me):
            if now - self._used.setdefault(member.id, now) > IDLE_AFTER:
                self._spawn(self._go_back(member), f"idle path to {member.name}")

    def _count(self, members: Iterable[Member], now: float) -> None:
        """Notes who is used: any byte over a relay, more than the probes make on a straight path."""
        device = self._sessions.device
        counters: dict[str, int] = {}
        for member in members:
            peer = device.peers.get(member.public_key) if device else None
            if peer is None:
                continue
            counters[member.id] = peer.rx_bytes + peer.tx_bytes
            rate = self._sessions.rates.of(member.public_key)
            before = self._counters.get(member.id)
            grown = before is not None and counters[member.id] != before and self._sessions.over_transport(member)
            if grown or rate.rx + rate.tx > BUSY_RATE:
                self._used[member.id] = now
        self._counters = counters

    def _observed(self, member_id: str) -> list[str]:
        """Where nodes see that member's packets come from."""
        seen = self._mesh.presence.get(member_id)
        return list(seen.candidates) if seen else []

    def _offered_by(self, member: Member) -> list[str]:
        return [*map(str, member.endpoints), *self._observed(member.id)]

    async def _own_candidates(self) -> list[str]:
        """Where this machine may be reached: given by hand, its addresses, and what nodes see."""
        own, _ = await self._mesh.own_endpoints.find()
        return list(dict.fromkeys([*own, *self._observed(self._mesh.choices.member_id)]))[:16]

    # --- an attempt -------------------------------------------------------------------------------------------------

    async def _try(self, me: Member, member: Member) -> None:
        try:
            key = PrivateKey.from_random(os.urandom(32))
            reply = await self._ask(member, key)
            if reply is None:
                self._attempts.failed(member.id, "it did not answer the offer of a straight path")
                return
            offered = [*reply.candidates, *self._offered_by(member)]
            own = await asyncio.to_thread(kernel_network.local_addresses, frozenset())
            endpoints = usable_candidates(
                offered, lambda one: one not in own and not self._mesh.addresses.is_inside(one)
            )
            trips = await try_endpoints(key, member.public_key, endpoints, TEST_TIME)
            if not trips:
                tried = ", ".join(str(UdpEndpoint(*one)) for one in endpoints) or "it named no endpoint"
                self._attempts.failed(member.id, f"tried {tried}: no answer" if endpoints else tried)
                return
            address, port = min(trips, key=lambda one: trips[one])
            await self._move(member, UdpEndpoint(address, port))
        except MeshError as error:
            self._attempts.failed(member.id, error.message)
            log.warning("%s: a straight path to %s: %s", self._mesh.name, member.name, error)
        finally:
            self._trying.discard(member.id)

    async def _ask(self, member: Member, key: PrivateKey) -> paths_pb2.DirectOffer | None:
        nonce = int.from_bytes(os.urandom(8), "big")
        offer = paths_pb2.DirectOffer(
            nonce=nonce,
            candidates=await self._own_candidates(),
            test_public_key=key.public.data,
            lifetime_ms=int(LET_IN * 1000),
        )
        reply: asyncio.Future[paths_pb2.DirectOffer] = asyncio.get_running_loop().create_future()
        self._replies[nonce] = (member.id, reply)
        try:
            for _ in range(3):
                self._sessions.prober.send(member.ipv4, paths_pb2.PathDatagram(offer=offer))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(OFFER_TIME / 3):
                        return await asyncio.shield(reply)
            return None
        finally:
            del self._replies[nonce]

    async def _move(self, member: Member, endpoint: UdpEndpoint) -> None:
        """Moves our end, tells the other, and goes back when nothing comes through."""
        prober = self._sessions.prober
        nonce = int.from_bytes(os.urandom(8), "big")
        moved = paths_pb2.PathDatagram(moved=paths_pb2.DirectMove(nonce=nonce, endpoint=str(endpoint)))
        self._moving.add(member.id)
        try:
            await self._set(member, endpoint)
            prober.send(member.ipv4, moved)
            await self._hold(member, endpoint)
            trip = await prober.measure(member.ipv4, 1.0) or await prober.measure(member.ipv4, 1.0)
            device = await self._sessions.read()
            peer = device.peers.get(member.public_key)
            if trip is None or peer is None or peer.endpoint is None or self._sessions.over_transport(member):
                self._attempts.failed(member.id, f"{endpoint} answers a test, but not the session")
                await self._back(member)
                return
        finally:
            self._moving.discard(member.id)
        self._attempts.forget(member.id)
        self._used[member.id] = boottime()
        text = f"{member.name} is reached straight at {endpoint}"
        self._mesh.event("path", text, subject=member.name, subject_id=member.id)
        self._mesh.wake()

    async def _hold(self, member: Member, endpoint: UdpEndpoint) -> None:
        until = boottime() + MOVE_TIME
        while boottime() < until:
            await self._set(member, endpoint)
            await asyncio.sleep(MOVE_EVERY)

    async def _set(self, member: Member, endpoint: UdpEndpoint) -> None:
        change = PeerChange(member.public_key, update_only=True, endpoint=endpoint)
        await self._mesh.machine.backend.apply(self._mesh.choices.interface, DeviceChange(peers=(change,)))

    async def _back(self, member: Member) -> None:
        endpoint = self._sessions.relay_endpoint(member)
        if endpoint is not None:
            await self._set(member, endpoint)
            await self._sessions.read()

    async def _go_back(self, member: Member) -> None:
        """To the relay, which needs no probes; the next use starts there and may become straight again."""
        way = self._sessions.ways.get(member.id)
        if way is None or not way.relay:
            return
        with contextlib.suppress(MeshError):
            await self._back(member)
        self._used.pop(member.id, None)
        self._mesh.wake()

    # --- the other side ---------------------------------------------------------------------------------------------

    def received(self, source: IPv4Address, datagram: paths_pb2.PathDatagram) -> None:
        """A datagram about paths from the member with that overlay address."""
        member = self._mesh.addresses.member_at(source)
        me = self._mesh.me
        if member is None or me is None or not member.enabled:
            return
        kind = datagram.WhichOneof("what")
        if kind == "offer":
            self._take_offer(member, datagram.offer)
        elif kind == "offer_reply":
            asked, reply = self._replies.get(datagram.offer_reply.nonce, ("", None))
            if reply is not None and asked == member.id and not reply.done():
                reply.set_result(datagram.offer_reply)
        elif kind == "moved" and member.id not in self._moving:
            self._moving.add(member.id)
            self._spawn(self._follow(member), f"path of {member.name}")

    def _take_offer(self, member: Member, offer: paths_pb2.DirectOffer) -> None:
        now = boottime()
        known = self._let_in.get(member.id)
        if known is not None and known.nonce != offer.nonce and now - known.taken < OFFER_PAUSE:
            return
        try:
            key = PublicKey(offer.test_public_key)
        except ValueError:
            return
        if any(key == one.public_key for one in self._mesh.members.values()):
            return
        lifetime = min(offer.lifetime_ms / 1000, LET_IN)
        if known is None or known.nonce != offer.nonce:
            self._let_in[member.id] = _LetIn(key, offer.nonce, now + lifetime, now)
            asyncio.get_running_loop().call_later(lifetime + 0.1, self._mesh.wake)
        self._spawn(self._reply(member, offer.nonce), f"offer of {member.name}")

    async def _reply(self, member: Member, nonce: int) -> None:
        await self._mesh.reconcile()
        reply = paths_pb2.DirectOffer(nonce=nonce, candidates=await self._own_candidates())
        self._sessions.prober.send(member.ipv4, paths_pb2.PathDatagram(offer_reply=reply))

    async def _follow(self, member: Member) -> None:
        """The other side moved: holds the endpoint that WireGuard now sees it at."""
        try:
            until = boottime() + 2 * MOVE_TIME
            while boottime() < until:
                device = await self._sessions.read()
                peer = device.peers.get(member.public_key)
                if peer is not None and peer.endpoint is not None and not self._sessions.over_transport(member):
                    await self._hold(member, peer.endpoint)
                    self._used[member.id] = boottime()
                    self._attempts.forget(member.id)
                    self._sessions.prober.ping(member.ipv4)
                    self._mesh.wake()
                    return
                await asyncio.sleep(MOVE_EVERY)
        except MeshError as error:
            log.warning("%s: the path of %s: %s", self._mesh.name, member.name, error)
        finally:
            self._moving.discard(member.id)
