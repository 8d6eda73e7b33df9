"""The WireGuard sessions of one mesh on this machine: who is heard, which way each one runs, and what repairs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from meshproto import node_pb2

from meshd import defaults
from meshd.assembly.direct_paths import DirectPaths
from meshd.assembly.past_file import PastFile
from meshd.assembly.renewals import Renewals
from meshd.assembly.returning import Returning
from meshd.assembly.without_nodes import WithoutNodes
from meshd.clocks import boottime
from meshd.dataplane.desired import Desired, UdpEndpoint, network
from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerChange, PeerState, anew
from meshd.model.addresses import transport_through
from meshd.model.errors import MeshError
from meshd.model.members import Endpoint, Member, Role
from meshd.observe.day import Day
from meshd.observe.past import Past
from meshd.observe.rates import Rates
from meshd.paths.choice import Sight, Way, choose_ways
from meshd.paths.handshake_times import HandshakeTimes
from meshd.paths.local_endpoints import source_towards
from meshd.paths.probing import ALIVE, INTERVAL, Prober
from meshd.paths.resolver import Resolver

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh

log = logging.getLogger(__name__)

HANDSHAKE_FRESH = 180.0
"""Seconds that a WireGuard session lives without a new handshake (REJECT_AFTER_TIME in its paper)."""

PRESENCE_KEPT = 0.4

PRESENCE_KEPT_LONGEST = 5.0
"""Seconds: a look that took long because this machine stood still is none that makes the next ones dear."""

SLEPT = 3.0
"""Seconds by which the loop must be late for that to mean that this machine slept, or was frozen. logind tells sooner;
not every machine has it."""

PEER_DEAD = 4.0
"""Seconds of unanswered probes after which a straight path between peers counts as dead: with `INTERVAL` between them,
that is within the 6 s of DESIGN.md section 8."""


class Sessions:
    """Probes, counts and moves sessions. Knows members and their presence from its mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.direct = DirectPaths(mesh, self)
        self._without_nodes = WithoutNodes(mesh, self)
        self.other_world = self._without_nodes.other_world
        self.prober = Prober(
            lambda source: mesh.addresses.is_overlay(source), os.urandom, self.direct.received, self._heard
        )
        self.returning = Returning(self)
        self.ways: dict[str, Way] = {}
        self.device: DeviceState | None = None
        self.rates = Rates()
        self._resolver = Resolver()
        self.past = Past()
        self.day = Day()
        self.past_file = PastFile(mesh.folder / "past", self.past, self.day)
        self.last_answer = 0.0  # boottime() when a node last answered
        self._started = boottime()
        self._endpoint_turn: dict[str, int] = {}
        self._known_since: dict[str, float] = {}
        self._received: dict[str, tuple[int, float]] = {}
        self.handshakes = HandshakeTimes()
        self._presence: list[node_pb2.Presence] = []
        self._presence_at = 0.0
        self._presence_took = 0.0  # seconds
        self._first_relays: dict[str, UdpEndpoint] = {}  # where sessions without a handshake were last sent
        self.renewals = Renewals(mesh, self)
        self._tick = asyncio.Event()
        self._slept = False  # it was said so

    async def start(self) -> None:
        """Listens for probes."""
        self._started = boottime()
        await self.past_file.read()
        if self._mesh.me is not None:
            await self.prober.start(self._mesh.me.ipv4, defaults.MESH_PORT)

    async def stop(self) -> None:
        await self.renewals.stop()
        await self.direct.stop()
        await self._without_nodes.stop()
        self.prober.stop()
        self.last_answer = 0.0
        await self.past_file.write()

    def _heard(self) -> None:
        """Somebody who was silent is there again."""
        self._mesh.wake()
        if self._mesh.duties is not None:
            self._mesh.duties.heard()

    # --- what is seen -----------------------------------------------------------------------------------------------

    def is_online(self, member: Member) -> bool:
        """As this machine sees it, or as a node told."""
        if member.id == self._mesh.choices.member_id or self.prober.alive(member.ipv4):
            return True
        seen = self._mesh.presence_of(member.id)
        return seen is not None and seen.online

    def handshake_at(self, member: Member) -> float | None:
        """When the last handshake with the member was (boottime), None: never, or its session was started anew."""
        peer = self._peer(member)
        return self.handshakes.at(member.id) if peer and peer.latest_handshake else None

    def handshake_shown(self, member: Member) -> float:
        """When it was, in Unix seconds by the clock as it is now, for people. 0: never."""
        return self.handshakes.shown(member.id, time.time(), boottime())

    def _peer(self, member: Member) -> PeerState | None:
        return self.device.peers.get(member.public_key) if self.device else None

    def is_fresh(self, member: Member) -> bool:
        """Whether there is a session that carries packets now."""
        handshake = self.handshake_at(member)
        return handshake is not None and boottime() - handshake < HANDSHAKE_FRESH

    def running_for(self) -> float:
        """Seconds since the start."""
        return boottime() - self._started

    def is_transport(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether an endpoint's address is a transport address of this mesh: its session is relayed."""
        prefix = self._mesh.state.settings.transport_prefix
        return bool(prefix) and address.version == 6 and address in network(prefix)

    def over_transport(self, member: Member) -> bool:
        peer = self._peer(member)
        return peer is not None and peer.endpoint is not None and self.is_transport(peer.endpoint.address)

    def relay_of(self, member: Member) -> str | None:
        """The node that the member's session goes through now."""
        peer = self._peer(member)
        if peer is None or peer.endpoint is None or not self.is_transport(peer.endpoint.address):
            return None
        return self._mesh.addresses.carrier(peer.endpoint.address)

    def is_straight(self, member: Member) -> bool:
        """Whether the session has an endpoint, and a real one."""
        peer = self._peer(member)
        return peer is not None and peer.endpoint is not None and not self.is_transport(peer.endpoint.address)

    async def read(self) -> DeviceState:
        """The interface as it is now. Raises MeshError."""
        device = await self._mesh.machine.backend.read(self._mesh.choices.interface)
        wall, boot = time.time(), boottime()
        for member in self._mesh.members.values():
            peer = device.peers.get(member.public_key)
            if peer is not None:
                self.handshakes.note(member.id, peer.latest_handshake, wall, boot)
        if self._mesh.is_node:
            self.returning.remember(device, self._mesh.members)
        self.device = device
        return device

    def own_presence(self) -> list[node_pb2.Presence]:
        """The members that this node reaches or reached itself. Looked for at most every `PRESENCE_KEPT` seconds, and
        in a twentieth of the time: heartbeats ask five times a second, and there may be thousands of members."""
        now = boottime()
        if now - self._presence_at > min(max(PRESENCE_KEPT, 20 * self._presence_took), PRESENCE_KEPT_LONGEST):
            self._presence_at = now
            self._presence = [
                seen
                for member in self._mesh.members.values()
                if member.id != self._mesh.choices.member_id and (seen := self._seen(member)) is not None
            ]
            self._presence_took = boottime() - now
        return self._presence

    def _seen(self, member: Member) -> node_pb2.Presence | None:
        peer, alive = self._peer(member), self.prober.alive(member.ipv4)
        handshake = self.handshake_shown(member)
        if not alive and not handshake:
            return None
        endpoint = peer.endpoint if peer else None
        direct = alive and (endpoint is None or not self.is_transport(endpoint.address))
        return node_pb2.Presence(
            member_id=member.id,
            online=alive,
            latest_handshake_ms=int(handshake * 1000),
            attached_node_ids=[self._mesh.choices.member_id] if direct else [],
            candidates=[str(endpoint)] if direct and endpoint is not None else [],
            protocol_version=self._mesh.versions.get(member.id, 0),
        )

    # --- ways -------------------------------------------------------------------------------------------------------

    def choose(self, me: Member) -> None:
        """Chooses each member's way by what is seen now."""
        self.ways = choose_ways(
            me,
            self._mesh.members,
            {key: self._sight(member) for key, member in self._mesh.members.items()},
            frozenset(self._mesh.leaving),
        )

    def _sight(self, member: Member) -> Sight:
        contact = self.prober.contact(member.ipv4)
        alive, now = contact.alive, boottime()
        peer = self._peer(member)
        endpoint = peer.endpoint if peer else None
        over_transport = endpoint is not None and self.is_transport(endpoint.address)
        unanswered = now - contact.first_unanswered if contact.first_unanswered else 0.0
        if member.role is Role.NODE:
            dead = (unanswered > ALIVE and not alive and not self.carries(member)) or over_transport
        elif self._mesh.is_node:  # peers probe the nodes, not the other way round
            known_for = now - self._known_since.setdefault(member.id, now)
            dead = (known_for > ALIVE and not alive and not self.carries(member)) or over_transport
        else:
            dead = unanswered > PEER_DEAD and now - contact.heard > PEER_DEAD
        seen = self._mesh.presence.get(member.id)
        return Sight(
            alive_direct=alive and not over_transport,
            dead_direct=dead,
            attached=frozenset(seen.attached_node_ids) if seen else frozenset(),
            straight=endpoint is not None and not over_transport,
            relay=self.relay_of(member) if over_transport else None,
        )

    def _note_received(self, device: DeviceState) -> None:
        """When each session's counter of received bytes last grew (boottime)."""
        before, self._received = self._received, {}
        for member in self._mesh.members.values():
            peer = device.peers.get(member.public_key)
            if peer is not None:
                count, grown = before.get(member.id, (peer.rx_bytes, 0.0))
                self._received[member.id] = peer.rx_bytes, boottime() if peer.rx_bytes > count else grown

    def carries(self, member: Member) -> bool:
        """Whether packets of the member came through lately. Its helper may be away all the same: tunnels stay up."""
        _, grown = self._received.get(member.id, (0, 0.0))
        return boottime() - grown < ALIVE - INTERVAL and self.is_fresh(member)

    def is_quiet(self, member: Member) -> bool:
        """Whether nothing went to the member since the last look."""
        rate = self.rates.of(member.public_key)
        return rate.rx == rate.tx == 0.0

    async def start_endpoints(self) -> dict[str, UdpEndpoint]:
        """Where a session with each member starts: its transport address when relayed, else an endpoint of its own."""
        others = [one for one in self._mesh.members.values() if one.id != self._mesh.choices.member_id]
        found = {one.id: endpoint for one in others if (endpoint := self.transport_endpoint(one)) is not None}
        rest = [one for one in others if one.role is Role.NODE and one.id not in found]
        own = await asyncio.gather(*map(self._own_endpoint, rest))
        found.update({one.id: endpoint for one, endpoint in zip(rest, own, strict=True) if endpoint is not None})
        return self.returning.endpoints() | found if self._mesh.is_node else found

    def give_time(self, member_id: str) -> None:
        """It was enabled: only from now on does its silence count."""
        self._known_since.pop(member_id, None)

    def transport_endpoint(self, member: Member) -> UdpEndpoint | None:
        """Where the member is reached through its relay, when its session shall be relayed now."""
        way = self.ways.get(member.id)
        return None if way is None or way.direct else self.relay_endpoint(member)

    def relay_endpoint(self, member: Member) -> UdpEndpoint | None:
        """Where the member is reached through its relay; None when it has none."""
        way = self.ways.get(member.id)
        relay = self._mesh.members.get(way.relay) if way is not None and way.relay else None
        if relay is None or relay.transport is None or member.transport is None:
            return None
        return UdpEndpoint(transport_through(relay.transport, member.transport), member.listen_port)

    async def _own_endpoint(self, member: Member) -> UdpEndpoint | None:
        """The next usable endpoint of a node in turn. A peer's are tested first (`direct_paths`)."""
        if member.role is not Role.NODE:
            return None
        usable = []
        for endpoint in member.endpoints:
            usable += await self.usable(endpoint)
        if not usable:
            return None
        return usable[self._endpoint_turn.get(member.id, 0) % len(usable)]

    async def next_endpoint(self, member: Member) -> UdpEndpoint | None:
        """Where its session is to be started anew: over its relay, else at the next of its own endpoints in turn."""
        self._endpoint_turn[member.id] = self._endpoint_turn.get(member.id, 0) + 1
        return self.transport_endpoint(member) or await self._own_endpoint(member)

    async def usable(self, endpoint: Endpoint) -> list[UdpEndpoint]:
        """The addresses of an endpoint that this machine has a route to."""
        address = endpoint.address
        if address is not None:
            return [UdpEndpoint(address, endpoint.port)] if source_towards(address) is not None else []
        addresses = await self._resolver.resolve(endpoint.host)
        return [UdpEndpoint(one, endpoint.port) for one in addresses if source_towards(one) is not None]

    async def follow_ways(self, desired: Desired) -> None:
        """Moves the sessions whose way changed between straight and relayed, or between relays. Moves to a straight
        path between peers, and back from a relay, belong to `direct_paths`, which tests first."""
        device = await self.read()
        self.returning.greet(self._mesh.members, device)
        self._first_relays = {key: endpoint for key, endpoint in self._first_relays.items() if key in self.ways}
        moves = []
        for member_id in self.ways:
            member = self._mesh.members.get(member_id)  # None: it left since the ways were chosen
            peer = device.peers.get(member.public_key) if member is not None else None
            wanted = desired.peers.get(member.public_key) if member is not None else None
            if member is None or peer is None or wanted is None or self.direct.is_moving(member_id):
                continue
            endpoint = self.transport_endpoint(member)
            if endpoint is not None and peer.latest_handshake is None and self._first_relays.get(member_id) != endpoint:
                # Packets that had nowhere to go made WireGuard wait 5 s before it tries again: a new peer doesn't.
                self._first_relays[member_id] = endpoint
                moves += [PeerChange(member.public_key, remove=True), anew(peer, endpoint)]
            elif endpoint is not None and endpoint != peer.endpoint:
                moves.append(PeerChange(member.public_key, update_only=True, endpoint=endpoint))
            elif endpoint is None and self.over_transport(member) and wanted.endpoint is not None:
                moves.append(PeerChange(member.public_key, update_only=True, endpoint=wanted.endpoint))
        if moves:
            await self._mesh.machine.backend.apply(self._mesh.choices.interface, DeviceChange(peers=tuple(moves)))

    async def start_from_new_addresses(self) -> None:
        """This machine's addresses changed: every session goes on from the new ones now. Raises MeshError.

        Setting an endpoint makes WireGuard forget the source address that it used, and a packet tells the other end
        the new one. A straight path between peers goes over its relay until it was tested again: a NAT on the other
        side lets only the old address in.
        """
        mesh = self._mesh
        log.info("%s: the addresses of this machine changed: all sessions go on from the new ones", mesh.name)
        me, device = mesh.me, await self.read()
        changes, heard_by = [], []
        for member in mesh.members.values():
            peer = device.peers.get(member.public_key)
            if me is None or peer is None or peer.endpoint is None or self.direct.is_moving(member.id):
                continue
            endpoint, relayed = peer.endpoint, self.relay_endpoint(member)
            between_peers = me.role is Role.PEER and member.role is Role.PEER
            back = between_peers and self.is_straight(member) and relayed is not None
            if back and relayed is not None:
                endpoint = relayed
            changes.append(PeerChange(member.public_key, update_only=True, endpoint=endpoint))
            if self.is_fresh(member) and (back or not between_peers):
                heard_by.append(member)
        if changes:
            await mesh.machine.backend.apply(mesh.choices.interface, DeviceChange(peers=tuple(changes)))
        for member in sorted(heard_by, key=lambda one: one.role is not Role.NODE):  # relays before what they carry
            self.prober.ping(member.ipv4)
        if me is not None:
            self.renewals.renew_all(me)

    # --- upkeep -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Probes, samples the counters, restarts sessions that went dead, and looks for straight paths."""
        first_delay = {member.id: 0.0 for member in self._mesh.members.values()}
        while True:
            began = boottime()
            me = self._mesh.me
            if me is not None:
                for node in self._nodes(me):
                    if node.id not in first_delay:
                        # Both sides starting at once cost 5 s (FACTS): the higher key waits for the lower one.
                        first_delay[node.id] = boottime() + (0.5 if me.public_key > node.public_key else 0)
                    if boottime() >= first_delay[node.id]:
                        self.prober.ping(node.ipv4)
                for member in self.direct.watched(me):
                    self.prober.ping(member.ipv4)
                await self._look(me)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._tick.wait()
            self._tick.clear()
            late = boottime() - began - INTERVAL
            if late > SLEPT or self._slept:
                await self._resume(late)

    def woke_up(self) -> None:
        """logind says that this machine slept until now."""
        self._slept = True
        self._tick.set()

    async def _resume(self, late: float) -> None:
        """What was known is old: all of it is looked up and tried again now."""
        mesh, self._slept = self._mesh, False
        text = f"this machine slept for {late:.0f} s" if late > SLEPT else "this machine woke up"
        mesh.event("state", f"{text}: sessions start anew")
        self._resolver.look_again()
        mesh.own_endpoints.look_soon()
        if mesh.duties is not None:
            mesh.duties.renew()
        if mesh.me is not None:
            with contextlib.suppress(MeshError):  # gone: the plan makes it again
                await self.read()
                self.renewals.renew_all(mesh.me)
        await mesh.notify()

    def _nodes(self, me: Member) -> list[Member]:
        return [one for one in self._mesh.members.values() if one.role is Role.NODE and one.id != me.id]

    async def _look(self, me: Member) -> None:
        try:
            device = await self.read()
        except MeshError as error:
            self._mesh.problem = error.message
            self._mesh.wake()
            return
        self._note_received(device)
        self.rates.sample(boottime(), {key: (one.rx_bytes, one.tx_bytes) for key, one in device.peers.items()})
        self._remember(me)
        if any(self.prober.answered(node.ipv4) for node in self._nodes(me)):
            self.last_answer = boottime()
        before = {key: (way.relay, way.direct) for key, way in self.ways.items()}
        self.choose(me)
        if before != {key: (way.relay, way.direct) for key, way in self.ways.items()}:
            self._mesh.wake()
        await self.renewals.look(me, device)
        await self.direct.look(me)
        await self._without_nodes.look(me)
        await self._mesh.notify()

    def _remember(self, me: Member) -> None:
        samples = {}
        for member in self._mesh.members.values():
            rate, contact = self.rates.of(member.public_key), self.prober.contact(member.ipv4)
            if member.id != me.id and (rate.rx or rate.tx or contact.alive):
                samples[member.id] = (rate.rx + rate.tx, contact.latency_ms if contact.alive else 0.0)
        now_ms = int(time.time() * 1000)
        self.past.sample(now_ms, samples)
        self.handshakes.keep(set(self._mesh.members))
        self.past.forget_all_but(self._mesh.members)
        self.day.sample(now_ms, samples)
        self.day.forget_all_but(self._mesh.members)
