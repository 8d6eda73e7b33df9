"""One mesh on this machine: its state, its data plane, its names, and the loop that keeps them in step.

What depends on being a node or a peer is in `node_duties` and `peer_duties`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Protocol

from meshproto import node_pb2, state_pb2
from meshproto.keys import PublicKey

from meshd import defaults
from meshd.cluster.certificates import verify_member
from meshd.cluster.identity import Choices, Identity, delete_identity, save_choices
from meshd.dataplane import kernel_network
from meshd.dataplane.apply import HostNetwork
from meshd.dataplane.desired import Desired, Network, UdpEndpoint
from meshd.dataplane.overlap import filter_routes
from meshd.dataplane.plan import Situation, TemporaryPeer, plan
from meshd.dataplane.watch import KernelWatch
from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerChange
from meshd.dataplane.wireguard.choice import ChosenBackend
from meshd.model.addresses import Pools
from meshd.model.changes.routes import choose_routes
from meshd.model.errors import MeshError
from meshd.model.members import Endpoint, Member, Role
from meshd.model.position import Position
from meshd.model.state import State
from meshd.naming.hosts_file import Entry, write_block
from meshd.observe.journal import Journal
from meshd.observe.rates import Rates
from meshd.paths.choice import Sight, Way, choose_ways
from meshd.paths.local_endpoints import source_towards
from meshd.paths.probing import ALIVE, INTERVAL, Prober
from meshd.store.view_file import save_view

log = logging.getLogger(__name__)

HANDSHAKE_FRESH = 180.0
"""Seconds that a WireGuard session lives without a new handshake (REJECT_AFTER_TIME in its paper)."""

GOODBYE = 1.0
"""Seconds that a member which removes itself can still be answered."""

RESTART_AFTER = 5.0
"""Seconds of unanswered probes after which a session is started anew, at the next endpoint."""


class Duties(Protocol):
    """What this machine does in the mesh besides carrying packets."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def erase(self) -> None: ...

    async def submit(self, change: node_pb2.Change, timeout: float) -> node_pb2.ChangeResult: ...

    @property
    def writable(self) -> bool: ...

    @property
    def redis_port(self) -> int: ...


@dataclass(slots=True)
class Machine:
    """What all meshes of one helper share."""

    backend: ChosenBackend
    network: HostNetwork
    journal: Journal
    state_dir: Path
    run_dir: Path
    redis_url: str = ""


class Mesh:
    """`state` is what is committed; whoever changes something calls `wake`."""

    def __init__(self, machine: Machine, identity: Identity, folder: Path, view: state_pb2.View | None) -> None:
        self.machine = machine
        self.identity = identity
        self.folder = folder
        self.state = State() if view is None else State.from_view(view)
        self.members: dict[str, Member] = {}  # verified
        self.provisional: dict[str, state_pb2.Member] = {}  # admitted here, not yet in our Redis
        self.leaving: dict[str, tuple[state_pb2.Member, float]] = {}  # removed by themselves; kept until that time
        self.presence: dict[str, node_pb2.Presence] = {}
        self.node_health: dict[str, node_pb2.NodeHealth] = {}
        self.applied = Position()
        self.committed = Position()
        self.ways: dict[str, Way] = {}
        self.routes: dict[Network, str] = {}
        self.refused_routes: dict[Network, str] = {}
        self.device: DeviceState | None = None
        self.rates = Rates()
        self.problem = ""  # why the machine does not follow the plan
        self.connected_since = 0.0
        self.last_answer = 0.0  # time.time() when a node last answered
        self.version = 0  # grows with everything that is worth showing
        self.changed = asyncio.Condition()
        self.duties: Duties | None = None
        self.ipv6 = True
        self.prober = Prober(self._is_overlay, os.urandom)
        self._wake = asyncio.Event()
        self._last_desired: Desired | None = None
        self._watch = KernelWatch(self.wake)
        self._tasks: list[asyncio.Task[None]] = []
        self._endpoint_turn: dict[str, int] = {}
        self._restarted: dict[str, float] = {}
        self._started = time.monotonic()
        self._overlays: dict[object, str] = {}
        self._seen_problems: set[str] = set()
        self.leaves = False  # a person is taking this machine out of the mesh
        self._was_cut = False
        self._was_online: dict[str, bool] = {}
        self._verify()

    # --- who and what -----------------------------------------------------------------------------------------------

    @property
    def choices(self) -> Choices:
        return self.identity.choices

    @property
    def name(self) -> str:
        return self.choices.mesh

    @property
    def me(self) -> Member | None:
        """This machine as a member; None when it was removed from the mesh."""
        return self.members.get(self.choices.member_id)

    @property
    def is_node(self) -> bool:
        return self.choices.role is Role.NODE

    def _is_overlay(self, address: object) -> bool:
        return address in self._overlays

    def event(self, kind: str, text: str, **fields: object) -> None:
        self.machine.journal.add(self.name, kind, text, **fields)  # type: ignore[arg-type]  # fields of Journal.add

    # --- state ------------------------------------------------------------------------------------------------------

    def set_state(self, state: State, entries: Iterable[tuple[Position, state_pb2.ChangeEntry]] = ()) -> None:
        """Takes a newer committed state over, stores it and has the data plane follow."""
        before = self.state.position
        self.state = state
        self.provisional = {key: message for key, message in self.provisional.items() if key not in state.members}
        self._verify()
        for position, entry in entries:
            if position <= before:
                continue
            subject = self.members.get(entry.subject_id)
            self.event(
                "change",
                entry.summary,
                actor=entry.actor,
                action=entry.action,
                subject=subject.name if subject else "",
                revision=position.revision,
                epoch=position.epoch,
                at_ms=entry.at_ms,
            )
        self.wake()

    def _verify(self) -> None:
        """Keeps the members that the CA vouches for. One that it doesn't is left out and reported."""
        members = {}
        now = time.monotonic()
        self.leaving = {key: value for key, value in self.leaving.items() if value[1] > now}
        leaving = {key: message for key, (message, _) in self.leaving.items()}
        for member_id, message in {**leaving, **self.provisional, **self.state.members}.items():
            member = self.state.parsed.get(member_id)
            try:
                if member is None:
                    member = Member.from_message(message)
                verify_member(message, member, self.identity.ca_certificate, self.choices.mesh_id)
            except MeshError as error:
                if error.message not in self._seen_problems:
                    self._seen_problems.add(error.message)
                    self.event("alarm", f"{error.message}; it is left out", severity="error")
                continue
            members[member_id] = member
        self.members = members
        self._overlays = {member.ipv4: member.id for member in members.values()}
        self.prober.forget(member.ipv4 for member in members.values())

    def state_with_provisional(self) -> State:
        """For checking callers: a member that was just admitted here may call before our Redis has it."""
        if not self.provisional:
            return self.state
        entry = state_pb2.ChangeEntry(
            writes=[
                state_pb2.Write(kind="member", key=key, value=message.SerializeToString())
                for key, message in self.provisional.items()
                if key not in self.state.members
            ]
        )
        return self.state.with_entry(entry, self.state.position)

    def add_provisional(self, message: state_pb2.Member) -> None:
        """Serves a member that the primary just admitted, before our own Redis has it."""
        if message.id not in self.state.members:
            self.provisional[message.id] = message
            self._verify()

    def say_goodbye(self, member_id: str) -> None:
        """Keeps a member that removes itself in the data plane for a moment, so that the answer still reaches it."""
        message = self.state.members.get(member_id)
        if message is not None:
            self.leaving[member_id] = (message, time.monotonic() + GOODBYE)

    def wake(self) -> None:
        self._wake.set()

    async def notify(self) -> None:
        """Tells whoever watches that something is new."""
        self.version += 1
        async with self.changed:
            self.changed.notify_all()

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self, make_duties: Callable[[Mesh], Duties]) -> None:
        """Brings the tunnel up from what is on disk, then the control plane."""
        self.ipv6 = await asyncio.to_thread(kernel_network.has_ipv6)
        self._started = time.monotonic()
        if self.me is not None:
            await self.prober.start(self.me.ipv4, defaults.MESH_PORT)
        await self.reconcile()
        self._watch.start()
        self._tasks = [
            asyncio.create_task(self._follow_plan(), name=f"{self.name}: plan"),
            asyncio.create_task(self._probe(), name=f"{self.name}: probes"),
        ]
        self.duties = make_duties(self)
        await self.duties.start()

    async def stop(self) -> None:
        """Stops the helper's part; the tunnel stays up."""
        self._watch.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self.prober.stop()
        if self.duties is not None:
            await self.duties.stop()
            self.duties = None

    async def down(self) -> None:
        """Stops and takes the interface away; the identity stays."""
        await self.stop()
        await self._remove_network()
        await self.notify()

    async def erase(self) -> None:
        """Leaves nothing of the mesh on this machine."""
        duties = self.duties
        await self.stop()
        await self._remove_network()
        if duties is not None:
            await duties.erase()
        await asyncio.to_thread(delete_identity, self.folder)
        await self.notify()

    async def _remove_network(self) -> None:
        own = self.me.subnet if self.me is not None else None
        await self.machine.network.remove(self.choices.interface, frozenset({own}) if own else frozenset())
        await asyncio.to_thread(write_block, self.name, [])
        self.device = None

    async def set_choices(self, **changes: object) -> None:
        self.identity = self.identity.with_choices(**changes)
        await asyncio.to_thread(save_choices, self.folder, self.choices)
        self.wake()

    # --- the plan ---------------------------------------------------------------------------------------------------

    async def _follow_plan(self) -> None:
        saved = Position()
        while True:
            try:
                async with asyncio.timeout(defaults.COMPARE_INTERVAL):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self.reconcile()
            if self.state.position > saved:
                saved = self.state.position
                await asyncio.to_thread(save_view, self.folder / "view", self.state.to_view())

    async def reconcile(self) -> None:
        """Brings the machine to the plan once. What fails is kept as `problem` and tried again."""
        if self.leaving:
            self._verify()
        if self.me is None and self.leaves:
            return  # the answer to our own removal still has to come through
        if self.me is None:
            self.problem = f"this machine was removed from {self.name}"
            await self.machine.network.remove(self.choices.interface, frozenset())
            return
        position = self.state.position
        try:
            situation = await self._situation(self.me)
            desired = plan(situation)
            operations = await self.machine.network.apply(desired)
            await self._move_endpoints(desired)
            if self.choices.hosts_file:
                await asyncio.to_thread(write_block, self.name, self._names())
        except MeshError as error:
            if error.message != self.problem:
                log.error("%s: %s", self.name, error)
                self.event("repair", error.message, severity="error")
            self.problem = error.message
        else:
            # What had to be done although the plan is the same was undone by somebody else.
            repairing, self._last_desired = desired == self._last_desired, desired
            if repairing:
                for operation in operations:
                    self.event("repair", f"repaired: {operation.describe()}", severity="warning")
            self.problem = ""
            self.applied = position
        await self.notify()

    def _names(self) -> list[Entry]:
        domain = self.state.settings.dns_domain
        entries: list[Entry] = []
        for member in sorted(self.members.values(), key=lambda one: one.name):
            entries.append((member.ipv4, f"{member.name}.{domain}"))
            if self.ipv6:
                entries.append((member.ipv6, f"{member.name}.{domain}"))
        return entries

    async def _situation(self, me: Member) -> Situation:
        pools = Pools.from_settings(self.state.settings)
        self.ways = choose_ways(me, self.members, self._sights())
        online = frozenset(
            member.id for member in self.members.values() if member.role is Role.NODE and self.is_online(member)
        )
        self.routes = choose_routes(self.state, online | {me.id} if self.is_node else online, self.routes)
        offered = {
            ip_network(route.cidr): route.masquerade for route in self.state.routes.values() if route.node_id == me.id
        }
        wanted = {network: node for network, node in self.routes.items() if network not in offered}
        installed = await self._installable(wanted)
        temporary = tuple(
            TemporaryPeer(
                PublicKey(invite.temporary_public_key),
                ip_address(invite.temporary_ipv4),  # type: ignore[arg-type]  # written by the model
                ip_address(invite.temporary_ipv6),  # type: ignore[arg-type]  # written by the model
            )
            for invite in self.state.invites.values()
            if invite.temporary_public_key
        )
        return Situation(
            self_id=me.id,
            private_key=self.identity.wireguard_key,
            interface=self.choices.interface,
            listen_port=self.choices.listen_port,
            mtu=self.state.settings.mtu or defaults.MTU,
            members=self.members,
            peer_pool=pools.peer_pool,
            ula=pools.ula,
            transport=pools.transport,
            endpoints=await self._start_endpoints(),
            relays={key: way.relay for key, way in self.ways.items() if way.relay},
            relayed=frozenset(
                key
                for key, way in self.ways.items()
                if way.relay and (self.is_node or self.members[key].role is Role.NODE)
            ),
            routes=installed,
            offered=offered,
            temporary=temporary,
            ipv6=self.ipv6,
            redis_port=self.duties.redis_port if self.duties else 0,
            redeem_port=self.choices.join_port or defaults.JOIN_PORT,
        )

    async def _installable(self, wanted: dict[Network, str]) -> dict[Network, str]:
        """Leaves out what would take over a network of this machine, unless its person accepted that."""
        if not wanted:
            self.refused_routes = {}
            return {}
        own = await asyncio.to_thread(kernel_network.networks_by_interface, frozenset({self.choices.interface}))
        endpoints = [
            peer.endpoint.address for peer in (self.device.peers.values() if self.device else ()) if peer.endpoint
        ]
        installed, refused = filter_routes(
            wanted,
            own,
            endpoints,
            frozenset(map(ip_network, self.choices.accepted_routes)),
            frozenset(map(ip_network, self.choices.ignored_routes)),
        )
        for network, reason in refused.items():
            if network not in self.refused_routes:
                self.event("route", f"route {network} is not installed here: {reason}", severity="warning")
        self.refused_routes = refused
        return {network: wanted[network] for network in installed}

    # --- paths ------------------------------------------------------------------------------------------------------

    def is_online(self, member: Member) -> bool:
        """As this machine sees it, or as a node told."""
        if member.id == self.choices.member_id or self.prober.alive(member.ipv4):
            return True
        seen = self.presence.get(member.id)
        return seen is not None and seen.online

    def session(self, member: Member) -> float | None:
        """When the last handshake with the member was, in Unix seconds."""
        peer = self.device.peers.get(member.public_key) if self.device else None
        return peer.latest_handshake if peer else None

    def running_for(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def is_transport(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether an endpoint's address is a transport address of this mesh: its session is relayed."""
        prefix = self.state.settings.transport_prefix
        return bool(prefix) and address.version == 6 and address in ip_network(prefix)

    def _over_transport(self, member: Member) -> bool:
        peer = self.device.peers.get(member.public_key) if self.device else None
        return peer is not None and peer.endpoint is not None and self.is_transport(peer.endpoint.address)

    def _sights(self) -> dict[str, Sight]:
        return {key: self._sight(member) for key, member in self.members.items()}

    def _sight(self, member: Member) -> Sight:
        contact = self.prober.contact(member.ipv4)
        over_transport = self._over_transport(member)
        seen = self.presence.get(member.id)
        waiting = contact.first_unanswered and time.monotonic() - contact.first_unanswered > ALIVE
        return Sight(
            alive_direct=self.prober.alive(member.ipv4) and not over_transport,
            dead_direct=(bool(waiting) and not self.prober.alive(member.ipv4)) or over_transport,
            attached=frozenset(seen.attached_node_ids) if seen else frozenset(),
            can_start=bool(member.endpoints),
        )

    async def _start_endpoints(self) -> dict[str, UdpEndpoint]:
        """Where a session with each member starts: its transport address when relayed, else an endpoint of its own."""
        found = {}
        for member in self.members.values():
            if member.id == self.choices.member_id:
                continue
            way = self.ways.get(member.id)
            if way is not None and way.relay and member.transport:
                found[member.id] = UdpEndpoint(member.transport, member.listen_port)
            else:
                endpoint = await self._direct_endpoint(member)
                if endpoint is not None:
                    found[member.id] = endpoint
        return found

    async def _direct_endpoint(self, member: Member) -> UdpEndpoint | None:
        """The next usable endpoint of a member in turn; a peer's only when it said that it is not behind NAT."""
        if member.role is not Role.NODE:
            return None
        usable = []
        for endpoint in member.endpoints:
            usable += await self._resolve(endpoint)
        if not usable:
            return None
        return usable[self._endpoint_turn.get(member.id, 0) % len(usable)]

    async def _resolve(self, endpoint: Endpoint) -> list[UdpEndpoint]:
        address = endpoint.address
        if address is not None:
            return [UdpEndpoint(address, endpoint.port)] if source_towards(address) is not None else []
        try:
            async with asyncio.timeout(2):
                entries = await asyncio.get_running_loop().getaddrinfo(endpoint.host, endpoint.port)
        except (OSError, TimeoutError):
            return []
        addresses = dict.fromkeys(ip_address(str(entry[4][0]).split("%")[0]) for entry in entries)
        return [UdpEndpoint(one, endpoint.port) for one in addresses if source_towards(one) is not None]

    async def _move_endpoints(self, desired: Desired) -> None:
        """Reads the sessions; moves those whose way changed between straight and relayed."""
        interface = self.choices.interface
        self.device = await self.machine.backend.read(interface)
        moves = []
        for member_id, way in self.ways.items():
            member = self.members[member_id]
            peer = self.device.peers.get(member.public_key)
            wanted = desired.peers.get(member.public_key)
            if peer is None or wanted is None or wanted.endpoint is None:
                continue
            if bool(way.relay) != self._over_transport(member) and (way.relay or self._over_transport(member)):
                moves.append(PeerChange(member.public_key, update_only=True, endpoint=wanted.endpoint))
        if moves:
            await self.machine.backend.apply(interface, DeviceChange(peers=tuple(moves)))

    async def _probe(self) -> None:
        """Probes the nodes, samples the counters, and restarts sessions that went dead."""
        first_delay = {member.id: 0.0 for member in self.members.values()}
        while True:
            me = self.me
            if me is not None:
                for node in [one for one in self.members.values() if one.role is Role.NODE and one.id != me.id]:
                    if node.id not in first_delay:
                        # Both sides starting at once cost 5 s (FACTS): the higher key waits for the lower one.
                        first_delay[node.id] = time.monotonic() + (0.5 if me.public_key > node.public_key else 0)
                    if time.monotonic() >= first_delay[node.id]:
                        self.prober.ping(node.ipv4)
                await self._look_at_sessions(me)
            await asyncio.sleep(INTERVAL)

    async def _look_at_sessions(self, me: Member) -> None:
        try:
            self.device = await self.machine.backend.read(self.choices.interface)
        except MeshError as error:
            self.problem = error.message
            self.wake()
            return
        self.rates.sample(
            time.monotonic(), {key: (peer.rx_bytes, peer.tx_bytes) for key, peer in self.device.peers.items()}
        )
        if any(self.prober.answered(node.ipv4) for node in self.members.values() if node.role is Role.NODE):
            self.last_answer = time.time()
        before = dict(self.ways)
        self.ways = choose_ways(me, self.members, self._sights())
        if {key: way.relay for key, way in before.items()} != {key: way.relay for key, way in self.ways.items()}:
            self.wake()
        now = time.monotonic()
        for node in [one for one in self.members.values() if one.role is Role.NODE and one.id != me.id and one.enabled]:
            contact = self.prober.contact(node.ipv4)
            silent = contact.first_unanswered and now - contact.first_unanswered > RESTART_AFTER
            if (
                silent
                and now - self._restarted.get(node.id, 0) > RESTART_AFTER
                and node.public_key in self.device.peers
            ):
                self._restarted[node.id] = now
                await self._restart_session(node)
        await self._renew_sessions(me)
        await self.notify()

    async def _renew_sessions(self, me: Member) -> None:
        """After one end was away, the other may hold a session that is gone there: it is started anew."""
        cut = not any(self.prober.alive(node.ipv4) for node in self.members.values() if node.role is Role.NODE)
        back = self._was_cut and not cut
        self._was_cut = cut
        online = {member.id: self.is_online(member) for member in self.members.values()}
        if me.role is Role.PEER:
            for member in self.members.values():
                returned = online[member.id] and self._was_online.get(member.id) is False
                if member.role is Role.PEER and member.id != me.id and (back or returned) and self.session(member):
                    await self._restart_session(member)
        self._was_online = online

    async def _restart_session(self, node: Member) -> None:
        """Removes and adds the peer in one set, at its next endpoint: WireGuard alone would need about 15 s."""
        device = self.device
        peer = device.peers.get(node.public_key) if device else None
        if peer is None:
            return
        self._endpoint_turn[node.id] = self._endpoint_turn.get(node.id, 0) + 1
        way = self.ways.get(node.id)
        if way is not None and way.relay and node.transport:
            endpoint: UdpEndpoint | None = UdpEndpoint(node.transport, node.listen_port)
        else:
            endpoint = await self._direct_endpoint(node)
        again = PeerChange(
            node.public_key,
            endpoint=endpoint or peer.endpoint,
            keepalive=peer.keepalive,
            allowed_ips=peer.allowed_ips,
        )
        log.info("%s: starting the session with %s anew", self.name, node.name)
        try:
            await self.machine.backend.apply(
                self.choices.interface, DeviceChange(peers=(PeerChange(node.public_key, remove=True), again))
            )
        except MeshError as error:
            log.warning("%s: %s", self.name, error)

    def own_presence(self) -> list[node_pb2.Presence]:
        """The members that this node reaches itself."""
        found = []
        device = self.device
        for member in self.members.values():
            if member.id == self.choices.member_id:
                continue
            handshake = self.session(member)
            alive = self.prober.alive(member.ipv4)
            direct = alive and not self._over_transport(member)
            peer = device.peers.get(member.public_key) if device else None
            seen = node_pb2.Presence(
                member_id=member.id,
                online=alive,
                latest_handshake_ms=int(handshake * 1000) if handshake else 0,
                attached_node_ids=[self.choices.member_id] if direct else [],
            )
            if direct and peer is not None and peer.endpoint is not None:
                seen.candidates.append(str(peer.endpoint))
            found.append(seen)
        return found

    async def wait_applied(self, position: Position, timeout: float) -> bool:
        """Whether the data plane came to that position in time."""
        try:
            async with asyncio.timeout(timeout), self.changed:
                while self.applied < position:
                    await self.changed.wait()
        except TimeoutError:
            return False
        return True

    async def wait_changed(self, seen: int, timeout: float) -> int:
        """Waits until something is newer than `seen`; returns the present version."""
        try:
            async with asyncio.timeout(timeout), self.changed:
                while self.version == seen:
                    await self.changed.wait()
        except TimeoutError:
            pass
        return self.version


def with_members(view: state_pb2.View, *members: state_pb2.Member) -> state_pb2.View:
    """The view with these members in it."""
    known = {member.id for member in view.members}
    view.members.extend(member for member in members if member.id not in known)
    return view
