"""What a node tells the members that watch it. A thousand may watch one node, and all of them begin anew at once when
another node dies: the parts of an update are made once and shared by all that are equally far."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from meshproto import node_pb2, state_pb2

from meshd.model.errors import NotFound, NotPermitted
from meshd.model.members import Member
from meshd.model.position import Position
from meshd.model.state import State, filtered_entry
from meshd.store.database import Entry

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh

PAUSE = 2.0
"""Seconds between updates of what grows or wobbles. Who is online and where is told at once."""

KEPT = 1000
"""Committed entries kept for those who watch; who needs older ones gets a snapshot."""

SNAPSHOT_PAUSE = 0.02
"""Seconds between snapshots: 1 MB with 3,000 members. Who waits has what it had, and the election goes on."""

WATCHES = 16
"""Of one member at once. It has one, and for a while those whose end was not noticed yet."""


class Leads(Protocol):
    """What is told with each update."""

    @property
    def primary_id(self) -> str: ...

    @property
    def writable(self) -> bool: ...

    @property
    def closing(self) -> bool:
        """Whether this node stops: every watch ends."""


class Watching:
    """Of one mesh, on one node."""

    def __init__(self, mesh: Mesh, leads: Leads) -> None:
        self._mesh = mesh
        self._leads = leads
        self._watching: Counter[str] = Counter()
        self._history = History(mesh.state.position)
        self._views = _Views()
        self._turn = asyncio.Lock()
        self._news = _News()

    def replaced(self) -> None:
        """The mesh has a state that does not follow on the one before."""
        self._history = History(self._mesh.state.position)

    def grown(self, entries: Iterable[Entry]) -> None:
        """These were committed, too, oldest first."""
        self._history.add(entries)

    async def watch(self, member: Member, known: Position) -> AsyncIterator[node_pb2.ViewUpdate]:
        """`known`: what the member has; (0, 0) when it wants all. Raises NotPermitted and NotFound."""
        if self._watching[member.id] >= WATCHES:
            raise NotPermitted(f"{member.name} watches {WATCHES} times already")
        self._watching[member.id] += 1
        try:
            async for update in self._updates(member, known):
                yield update
        finally:
            self._watching -= Counter({member.id: 1})

    async def _updates(self, member: Member, sent: Position) -> AsyncIterator[node_pb2.ViewUpdate]:
        mesh = self._mesh
        presence: Mapping[str, node_pb2.Presence] = {}
        version = -1
        while not self._leads.closing:
            stored = mesh.state.members.get(member.id) or mesh.admitted.messages.get(member.id)
            update = node_pb2.ViewUpdate(
                committed=mesh.committed.message,
                primary_id=self._leads.primary_id,
                writable=self._leads.writable,
                nodes=mesh.node_health.values(),
            )
            if stored is None:
                update.snapshot.CopyFrom(mesh.state.for_removed())
            elif not stored.enabled:
                update.snapshot.CopyFrom(mesh.state.for_peer(member.id))
            elif sent != mesh.state.position:
                changes = self._history.since(sent, member.id)
                if changes is None and not await self._may_send_snapshot():
                    yield update
                    continue
                update.MergeFromString(self._views.of(mesh.state, member.id) if changes is None else changes)
                sent = mesh.state.position
                update.committed.CopyFrom(sent.message)
            update.MergeFromString(self._news.since(presence, mesh.presence))
            presence, reach_changes = mesh.presence, mesh.reach_changes
            yield update
            if stored is None:
                raise NotFound(f"{member.name} was removed from {mesh.name}")
            if not stored.enabled:
                raise NotPermitted(f"{member.name} is disabled")
            deadline = time.monotonic() + PAUSE
            while (
                not self._leads.closing
                and mesh.state.position == sent
                and mesh.reach_changes == reach_changes
                and time.monotonic() < deadline
            ):
                version = await mesh.wait_changed(version, deadline - time.monotonic())

    async def _may_send_snapshot(self) -> bool:
        """Waits for its turn. False: it did not come yet, and whoever waits wants to hear that we are there."""
        try:
            async with asyncio.timeout(PAUSE):
                await self._turn.acquire()
        except TimeoutError:
            return False
        asyncio.get_running_loop().call_later(SNAPSHOT_PAUSE, self._turn.release)
        return True


class History:
    """The last committed changes, as peers may see them."""

    def __init__(self, base: Position) -> None:
        """`base`: what they follow on."""
        self._positions = [base]
        self._told: list[tuple[bytes, frozenset[str]]] = []  # what follows on each, and the members that it is about
        self._together: dict[Position, tuple[bytes, frozenset[str]]] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Each follows on the one before."""
        self._together = {}
        for position, entry in entries:
            if position.revision != self._positions[-1].revision + 1:
                self._positions, self._told = [position], []
                continue
            about = frozenset(write.key for write in entry.writes if write.kind == "member")
            self._positions.append(position)
            self._told.append((node_pb2.ViewUpdate(entries=[filtered_entry(entry)]).SerializeToString(), about))
        del self._positions[: -KEPT - 1], self._told[:-KEPT]

    def since(self, known: Position, member_id: str) -> bytes | None:
        """An update with the changes after `known`; None when the member needs a snapshot. An epoch has one log: who
        is at a position of ours has what we had there."""
        index = known.revision - self._positions[0].revision
        if known == Position() or not 0 <= index < len(self._positions) or self._positions[index] != known:
            return None
        if known not in self._together:
            told = self._told[index:]
            about = frozenset().union(*(members for _, members in told))
            self._together[known] = b"".join(update for update, _ in told), about
        changes, about = self._together[known]
        return None if member_id in about else changes


class _Views:
    """Of the state that is the newest."""

    def __init__(self) -> None:
        self._made: tuple[State, bytes] | None = None

    def of(self, state: State, member_id: str) -> bytes:
        """An update with all that a member may see: what all may see, and its own record, which comes again."""
        if self._made is None or self._made[0] is not state:
            self._made = state, node_pb2.ViewUpdate(snapshot=state.for_peer("")).SerializeToString()
        own = state.own_record(member_id)
        members = [] if own is None else [own]
        return self._made[1] + node_pb2.ViewUpdate(snapshot=state_pb2.View(members=members)).SerializeToString()


class _News:
    """Of who is online and where. What was told is known by the mapping that it was told from, which never changes."""

    def __init__(self) -> None:
        self._present: Mapping[str, node_pb2.Presence] = {}
        self._made: dict[int, tuple[Mapping[str, node_pb2.Presence], bytes]] = {}

    def since(self, told: Mapping[str, node_pb2.Presence], present: Mapping[str, node_pb2.Presence]) -> bytes:
        """An update with what is new in `present`."""
        if present is not self._present:
            self._present, self._made = present, {}
        if id(told) not in self._made:  # it is kept, so that the number stays its own
            news = [seen for key, seen in present.items() if told.get(key) is not seen]
            news += [node_pb2.Presence(member_id=key) for key in told.keys() - present.keys()]
            self._made[id(told)] = told, node_pb2.ViewUpdate(presence=news).SerializeToString()
        return self._made[id(told)][1]
