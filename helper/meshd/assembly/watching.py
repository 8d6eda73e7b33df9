"""What a node tells the members that watch it. A thousand may watch one node, and all of them begin anew at once when
another node dies: the parts of an update are made once and shared by all that are equally far."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from meshproto import node_pb2, state_pb2

from meshd.model.errors import NotFound, NotPermitted
from meshd.model.members import Member
from meshd.model.position import Position
from meshd.model.state import State, filtered_entry, own_record
from meshd.store.database import Entry

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh

PAUSE = 2.0
"""Seconds between updates of what grows or wobbles. Who is online and where is told at once."""

KEPT = 1000
"""Committed entries kept for those who watch; who needs older ones gets a snapshot."""

SNAPSHOT_PAUSE = 0.02
"""Seconds between snapshots: 1 MB with 3,000 members. Who waits has what it had, and the election goes on."""

AT_ONCE = 8
"""Watchers that are told in one go, which takes a few milliseconds: hundreds hear of a change at once, and the
heartbeats of the election must not wait for all of them."""

STEPS = 8
"""From so many positions the changes are kept together: those that most are at."""

NOBODY: Mapping[str, node_pb2.Presence] = {}
"""Was told to who begins to watch."""

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
        self._places = asyncio.Semaphore(AT_ONCE)
        self._news = _News()

    def replaced(self) -> None:
        """The mesh has a state that does not follow on the one before."""
        self._history = History(self._mesh.state.position)

    def grown(self, entries: Iterable[Entry]) -> None:
        """These were committed, too, oldest first."""
        self._history.add(entries)

    async def watch(self, member: Member, has: Position) -> AsyncIterator[node_pb2.ViewUpdate]:
        """`has`: the view that the member goes on from; (0, 0) when it wants all. Raises NotPermitted and NotFound."""
        if self._watching[member.id] >= WATCHES:
            raise NotPermitted(f"{member.name} watches {WATCHES} times already")
        self._watching[member.id] += 1
        try:
            async for update in self._updates(member, has):
                yield update
        finally:
            self._watching -= Counter({member.id: 1})

    async def _updates(self, member: Member, sent: Position) -> AsyncIterator[node_pb2.ViewUpdate]:
        mesh = self._mesh
        presence = NOBODY
        version = -1
        its_turn = False
        while not self._leads.closing:
            await self._place()
            stored = mesh.state.members.get(member.id) or mesh.admitted.messages.get(member.id)
            update = node_pb2.ViewUpdate(
                committed=mesh.committed.message,
                primary_id=self._leads.primary_id,
                writable=self._leads.writable,
                nodes=mesh.node_health.values(),
            )
            waits = False
            if stored is None:
                update.snapshot.CopyFrom(mesh.state.for_removed())
            elif not stored.enabled:
                update.snapshot.CopyFrom(mesh.state.for_peer(member.id))
            elif sent < mesh.state.position:  # who has more than this node hears who is online
                step = self._history.after(sent, member.id)
                if step is None and not its_turn:
                    its_turn = await self._may_send_snapshot()
                    if its_turn:
                        continue  # it may have been removed meanwhile
                    waits = True
                elif step is None:
                    update.MergeFromString(self._views.of(mesh.state, stored))
                    sent, its_turn = mesh.state.position, False
                    update.committed.CopyFrom(sent.message)
                else:
                    update.MergeFromString(step.update)
                    sent = step.position
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
                and not waits
                and not sent < mesh.state.position
                and mesh.reach_changes == reach_changes
                and time.monotonic() < deadline
            ):
                version = await mesh.wait_changed(version, deadline - time.monotonic())

    async def _place(self) -> None:
        """Waits until this is one of the few that are told before the loop looks at everything else again."""
        await self._places.acquire()
        asyncio.get_running_loop().call_soon(self._places.release)

    async def _may_send_snapshot(self) -> bool:
        """Waits for its turn. False: it did not come yet, and whoever waits wants to hear that we are there."""
        try:
            async with asyncio.timeout(PAUSE):
                await self._turn.acquire()
        except TimeoutError:
            return False
        asyncio.get_running_loop().call_later(SNAPSHOT_PAUSE, self._turn.release)
        return True


@dataclass(frozen=True, slots=True)
class Step:
    """From one position to a later one of one epoch."""

    update: bytes  # a ViewUpdate with the changes
    position: Position
    about: frozenset[str]  # members that were changed


class History:
    """The last committed changes, as peers may see them."""

    def __init__(self, base: Position) -> None:
        """`base`: what they follow on."""
        self._positions = [base]
        self._told: list[tuple[bytes, frozenset[str]]] = []  # what follows on each, and the members that it is about
        self._steps: dict[Position, Step] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Each follows on the one before."""
        self._steps = {}
        for position, entry in entries:
            if position.revision != self._positions[-1].revision + 1:
                self._positions, self._told = [position], []
                continue
            about = frozenset(write.key for write in entry.writes if write.kind == "member")
            self._positions.append(position)
            self._told.append((node_pb2.ViewUpdate(entries=[filtered_entry(entry)]).SerializeToString(), about))
        del self._positions[: -KEPT - 1], self._told[:-KEPT]

    def after(self, has: Position, member_id: str) -> Step | None:
        """What follows on that position; None when the member needs a snapshot. An epoch has one log: who is at a
        position of ours has what we had there."""
        index = has.revision - self._positions[0].revision
        if has == Position() or not 0 <= index < len(self._told) or self._positions[index] != has:
            return None
        step = self._steps.get(has)
        if step is None:
            last = index + 1
            while last + 1 < len(self._positions) and self._positions[last + 1].epoch == self._positions[last].epoch:
                last += 1
            told = self._told[index:last]
            about = frozenset().union(*(members for _, members in told))
            step = Step(b"".join(update for update, _ in told), self._positions[last], about)
            if len(self._steps) >= STEPS:
                self._steps.pop(next(iter(self._steps)))
            self._steps[has] = step
        return None if member_id in step.about else step


class _Views:
    """Of the state that is the newest."""

    def __init__(self) -> None:
        self._made: tuple[State, bytes] | None = None

    def of(self, state: State, member: state_pb2.Member) -> bytes:
        """An update with all that a member may see: what all may see, and its own record, which comes again. It may
        have one before the state has it."""
        if self._made is None or self._made[0] is not state:
            self._made = state, node_pb2.ViewUpdate(snapshot=state.for_peer("")).SerializeToString()
        own = state_pb2.View(members=[own_record(member)])
        return self._made[1] + node_pb2.ViewUpdate(snapshot=own).SerializeToString()


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
