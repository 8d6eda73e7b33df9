"""One mesh on this machine: its state, its data plane, its names, and the loop that keeps them in step.

What depends on being a node or a peer is in `node_duties` and `peer_duties`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

from meshproto import local_pb2, node_pb2, state_pb2
from meshproto.keys import PublicKey

from meshd import defaults
from meshd.assembly.admitted import Admitted
from meshd.assembly.carried_routes import CarriedRoutes
from meshd.assembly.cluster_keys import ClusterKeys
from meshd.assembly.kept_view import keep_view
from meshd.assembly.machine import Duties, Machine
from meshd.assembly.member_addresses import MemberAddresses
from meshd.assembly.names import Names
from meshd.assembly.own_endpoints import OwnEndpoints
from meshd.assembly.sessions import Sessions
from meshd.assembly.starting import Starting
from meshd.clocks import boottime
from meshd.cluster.certificates import verify_member
from meshd.cluster.identity import Choices, Identity, delete_identity, save_choices
from meshd.dataplane import kernel_network
from meshd.dataplane.desired import Desired, Network
from meshd.dataplane.difference import is_repair
from meshd.dataplane.overlap import filter_routes
from meshd.dataplane.plan import Situation, TemporaryPeer, plan
from meshd.dataplane.watch import KernelWatch
from meshd.lasting import keep_running
from meshd.model.addresses import Pools, ipv6_addresses
from meshd.model.changes.admission import temporary_keys
from meshd.model.changes.routes import choose_routes
from meshd.model.errors import MeshError
from meshd.model.members import Member, Role
from meshd.model.position import Position
from meshd.model.state import State

log = logging.getLogger(__name__)

GOODBYE = 1.0
"""Seconds that a member which removes itself can still be answered, and that a node which was removed still carries
what is under way: time for everybody to choose other ways."""

FAREWELL = 0.3
"""Seconds that a peer which was disabled or removed can still be told so."""

PRESENCE_LIFE = 8.0
"""Seconds that what nodes say of members stays true: they say it every 2 s."""


LONGEST_REST = 0.5
"""Seconds."""


class Mesh:
    """`state` is what is committed; whoever changes something calls `wake`."""

    def __init__(self, machine: Machine, identity: Identity, folder: Path, view: state_pb2.View | None) -> None:
        self.machine = machine
        self.identity = identity
        self.folder = folder
        self.state = State() if view is None else State.from_view(view)
        self.members: dict[str, Member] = {}  # verified
        self.admitted = Admitted()
        self.leaving: dict[str, tuple[state_pb2.Member, float]] = {}  # removed, but kept until that time
        self.presence: dict[str, node_pb2.Presence] = {}
        self._presence_at = 0.0
        self.node_health: dict[str, node_pb2.NodeHealth] = {}
        self.reach_changes = 0
        self.applied = Position()
        self.committed = Position()
        self.routes: dict[Network, str] = {}
        self._carried = CarriedRoutes(self.wake_after)
        self.refused_routes: dict[Network, str] = {}
        self.problem = ""  # why the machine does not follow the plan
        self.version = 0  # grows with everything that is worth showing
        self.changed = asyncio.Condition()
        self.duties: Duties | None = None
        self.ipv6 = True
        self._names = Names(self)
        self._wake = asyncio.Event()
        self._new_state = asyncio.Event()
        self._reconciling = asyncio.Lock()
        self._last_desired: Desired | None = None
        self._watch = KernelWatch(self._kernel_changed)
        self._tasks: list[asyncio.Task[None]] = []
        self.starting = Starting(self)
        self.addresses = MemberAddresses(self.state.settings, self.members)
        self._seen_problems: set[str] = set()
        self._vouched: dict[str, tuple[state_pb2.Member, Member]] = {}  # messages are never changed in place
        self.versions: dict[str, int] = {}  # of the messages, as members spoke here
        self.refused = ""  # why the node that was asked last does not serve this machine
        self.leaves = False  # a person is taking this machine out of the mesh
        self.sessions = Sessions(self)
        self.cluster_keys = ClusterKeys(self)
        self.own_endpoints = OwnEndpoints(self)
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

    @property
    def present(self) -> list[Member]:
        """The members without those that were removed and only carry what is under way."""
        return [one for key, one in self.members.items() if key not in self.leaving or key in self.state.members]

    def event(self, kind: str, text: str, **fields: object) -> None:
        self.machine.journal.add(self.name, kind, text, **fields)  # type: ignore[arg-type]  # fields of Journal.add

    # --- state ------------------------------------------------------------------------------------------------------

    def set_state(self, state: State, entries: Iterable[tuple[Position, state_pb2.ChangeEntry]] = ()) -> None:
        """Takes a newer committed state over, stores it and has the data plane follow."""
        before, enabled = self.state.position, self.me is not None and self.me.enabled
        if state.parsed is not self.state.parsed:
            self._say_goodbyes(state)
        self.state = state
        self.admitted.follow(state)
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
                subject_id=entry.subject_id,
                revision=position.revision,
                epoch=position.epoch,
                at_ms=entry.at_ms,
            )
        if enabled and self.me is not None and not self.me.enabled:
            self.event("state", f"this machine was disabled in {self.name}", severity="warning")
        self._new_state.set()
        self.wake()

    def _verify(self) -> None:
        """Keeps the members that the CA vouches for. One that it doesn't is left out and reported."""
        vouched = {}
        now = boottime()
        self.leaving = {key: value for key, value in self.leaving.items() if value[1] > now}
        leaving = {key: message for key, (message, _) in self.leaving.items()}
        renewed = self.admitted.renewed
        for member_id, message in {**leaving, **self.admitted.messages, **self.state.members, **renewed}.items():
            known = self._vouched.get(member_id)
            if known is not None and known[0] is message:
                vouched[member_id] = known
                continue
            member = None if member_id in renewed else self.state.parsed.get(member_id)
            try:
                if member is None:
                    member = Member.from_message(message)
                verify_member(message, member, self.identity.ca_certificate, self.choices.mesh_id)
            except MeshError as error:
                if error.message not in self._seen_problems:
                    self._seen_problems.add(error.message)
                    self.event("alarm", f"{error.message}; it is left out", severity="error")
                continue
            vouched[member_id] = (message, member)
        self._vouched = vouched
        self.members = {member_id: member for member_id, (_, member) in vouched.items()}
        self.addresses = MemberAddresses(self.state.settings, self.members)
        self.sessions.prober.forget(self.addresses.overlays)

    def admit(self, message: state_pb2.Member, position: Position) -> None:
        """Serves a member that the primary just admitted, by the change at `position`, before our own Redis has it."""
        self.admitted.add(message, position, self.state)
        self._verify()

    def renew(self, nodes: Iterable[state_pb2.Member], position: Position) -> None:
        """As a node: talks to nodes by the keys that they have in newer data, which our Redis is to get from them."""
        self.admitted.renew(nodes, position, self.state)
        self._verify()
        self.wake()

    def _say_goodbyes(self, state: State) -> None:
        """To nodes that are not in `state` any more, and as a node to peers that lose access: they are told."""
        for member in self.state.parsed.values():
            after = state.parsed.get(member.id)
            if member.role is Role.NODE and after is None:
                self.say_goodbye(member.id)
            elif self.is_node and member.enabled and (after is None or not after.enabled):
                self.say_goodbye(member.id, FAREWELL)
            elif self.is_node and not member.enabled and after is not None and after.enabled:
                self.sessions.returning.expect(member.id)

    def say_goodbye(self, member_id: str, seconds: float = GOODBYE) -> None:
        """Keeps a member that loses access in the data plane for a moment."""
        message = self.state.members.get(member_id)
        until = boottime() + seconds
        if message is not None and self.leaving.get(member_id, (message, 0.0))[1] < until:
            self.leaving[member_id] = (message, until)
            # Looked at several times: packets under way may draw a session that moved back to its old relay.
            for after in (*(one for one in (0.1, 0.3, 0.6) if one < seconds), seconds + 0.05):
                self.wake_after(after)

    def take_presence(self, presence: Iterable[node_pb2.Presence], nodes: Iterable[node_pb2.NodeHealth]) -> None:
        """Who is online and where, as the nodes see it. `reach_changes` grows when that opens or closes a way."""
        self._presence_at = boottime()
        before, self.presence = self.presence, {}
        self.node_health = {one.member_id: one for one in nodes}
        changed = False
        for seen in presence:
            known = before.get(seen.member_id)
            # What is as before stays the same object, which is how `watch_view` knows it.
            self.presence[seen.member_id] = seen if known is None or known != seen else known
            if known is None or (known is not seen and _reach(known) != _reach(seen)):
                changed = True
        if changed or before.keys() - self.presence.keys():
            self.reach_changes += 1
            self.wake()

    def presence_of(self, member_id: str) -> node_pb2.Presence | None:
        """What the nodes say of a member; None when they have not said anything for a while."""
        return self.presence.get(member_id) if boottime() - self._presence_at < PRESENCE_LIFE else None

    def wake(self) -> None:
        self._wake.set()

    def wake_after(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.wake)

    def _kernel_changed(self) -> None:
        self.wake()
        self.own_endpoints.look_soon()

    async def notify(self) -> None:
        """Tells whoever watches that something is new."""
        self.version += 1
        async with self.changed:
            self.changed.notify_all()

    # --- life -------------------------------------------------------------------------------------------------------

    def keep_running(self, work: Callable[[], Coroutine[Any, Any, None]], what: str) -> asyncio.Task[None]:
        """Work that goes on until it is cancelled. A fault in it is logged and told as an event."""
        return keep_running(work, f"{self.name}: {what}", lambda text: self.event("alarm", text, severity="error"))

    async def start(self, make_duties: Callable[[Mesh], Duties]) -> None:
        """Brings the tunnel up from what is on disk, then the control plane."""
        self.ipv6 = await asyncio.to_thread(kernel_network.has_ipv6)
        self.machine.interfaces.add(self.choices.interface)
        await self.sessions.start()
        await self.reconcile()
        self._watch.start()
        self._tasks = [
            self.keep_running(self._follow_plan, "plan"),
            self.keep_running(partial(keep_view, self), "view"),
            self.keep_running(self.sessions.run, "sessions"),
            self.keep_running(self.sessions.past_file.run, "past"),
            self.keep_running(self._names.run, "names"),
        ]
        self.duties = make_duties(self)
        await self.duties.start()
        self._tasks.append(self.keep_running(self.own_endpoints.run, "own endpoints"))

    async def stop(self, keep: bool = True) -> None:
        """Stops the helper's part; the tunnel stays up, and with `keep` whatever else goes on without a helper."""
        await self.starting.cancel()
        await self.halt(keep)

    async def halt(self, keep: bool = True) -> None:
        """As `stop`, for `starting`."""
        self._watch.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.sessions.stop()
        if self.duties is not None:
            await self.duties.stop(keep)
            self.duties = None

    async def down(self) -> None:
        """Stops and takes the interface away; the identity stays."""
        await self.stop(keep=False)
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
        await self._names.remove()
        await self.machine.network.remove(self.choices.interface, frozenset({own}) if own else frozenset())
        self.machine.interfaces.discard(self.choices.interface)
        self.sessions.device = None
        self._last_desired = None

    async def set_choices(self, **changes: object) -> None:
        self.identity = self.identity.with_choices(**changes)
        await asyncio.to_thread(save_choices, self.folder, self.choices)
        self.wake()

    # --- the plan ---------------------------------------------------------------------------------------------------

    async def _follow_plan(self) -> None:
        while True:
            try:
                async with asyncio.timeout(defaults.COMPARE_INTERVAL):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            began = boottime()
            await self.reconcile()
            await self._rest(boottime() - began)

    async def _rest(self, seconds: float) -> None:
        """As long as the last look took, unless there is a change to carry out: with thousands of members somebody
        comes or goes all the time, each look takes long, and the election needs its share of the processor."""
        if self.state.position != self.applied:
            return
        self._new_state.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, LONGEST_REST)):
                await self._new_state.wait()

    async def reconcile(self) -> None:
        """Brings the machine to the plan once. What fails is kept as `problem` and tried again."""
        async with self._reconciling:  # else an older plan could be applied after a newer one
            await self._reconcile()

    async def _reconcile(self) -> None:
        if self.leaving:
            self._verify()
            await self.notify()  # whoever lost access is told while it can still be reached
        if self.me is None and self.leaves:
            return  # the answer to our own removal still has to come through
        if self.me is None:
            if not self.problem:
                self.event("state", f"this machine was removed from {self.name}", severity="warning")
            self.problem = f"this machine was removed from {self.name}"
            await self.machine.network.remove(self.choices.interface, frozenset())
            await self._names.remove()
            return
        position = self.state.position
        try:
            situation = await self._situation(self.me)
            desired = await asyncio.to_thread(plan, situation)
            operations = await self.machine.network.apply(desired)
            await self.sessions.follow_ways(desired)
            await self._names.write()
        except MeshError as error:
            if error.message != self.problem:
                log.error("%s: %s", self.name, error)
                self.event("repair", error.message, severity="error")
            self.problem = error.message
        else:
            before, self._last_desired = self._last_desired, desired
            for operation in operations:
                if before is not None and is_repair(operation, before, desired):
                    self.event("repair", f"repaired: {operation.describe()}", severity="warning")
            self.problem = ""
            self.applied = position
        await self.notify()

    def checks(self) -> list[local_pb2.Check]:
        """What `doctor` says of this mesh besides its state."""
        return self._names.checks() + (self.duties.checks() if self.duties is not None else [])

    async def _situation(self, me: Member) -> Situation:
        pools = Pools.from_settings(self.state.settings)
        sessions = self.sessions
        if sessions.device is not None:
            with contextlib.suppress(MeshError):  # gone: the plan makes it again
                await sessions.read()
        sessions.choose(me)
        members, ways = self.members, sessions.ways  # of the same moment: both are replaced while we wait below
        if self.leaving:
            members = {key: replace(one, enabled=True) if key in self.leaving else one for key, one in members.items()}
        online = frozenset(
            member.id for member in members.values() if member.role is Role.NODE and sessions.is_online(member)
        )
        self.routes = choose_routes(self.state, online | {me.id} if self.is_node else online, self.routes)
        offered = self._carried.of(self.state, me.id, boottime())
        wanted = {network: node for network, node in self.routes.items() if network not in offered}
        installed = await self._installable(wanted)
        temporary = tuple(
            TemporaryPeer(key, IPv4Address(invite.temporary_ipv4) + number, ipv6_addresses(pools, key)[0])
            for invite in self.state.invites.values()
            for number, key in enumerate(map(PublicKey, temporary_keys(invite)))
        )
        return Situation(
            self_id=me.id,
            private_key=self.identity.keys.wireguard,
            interface=self.choices.interface,
            listen_port=self.choices.listen_port,
            mtu=self.state.settings.mtu or defaults.MTU,
            members=members,
            peer_pool=pools.peer_pool,
            ula=pools.ula,
            transport=pools.transport,
            endpoints=await sessions.start_endpoints(),
            relayed=frozenset(
                key for key, way in ways.items() if way.relay and (self.is_node or members[key].role is Role.NODE)
            ),
            routes=installed,
            offered=offered,
            temporary=temporary,
            tests=sessions.direct.test_keys(),
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
            peer.endpoint.address
            for peer in (self.sessions.device.peers.values() if self.sessions.device else ())
            if peer.endpoint
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


def _reach(seen: node_pb2.Presence) -> tuple[bool, frozenset[str]]:
    return seen.online, frozenset(seen.attached_node_ids)
