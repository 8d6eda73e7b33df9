"""What a peer does: watches the view at one node, reports where it may be reached, and sends changes there."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence

import grpc.aio
from meshproto import PROTOCOL_VERSION, local_pb2, node_pb2, state_pb2

from meshd import defaults
from meshd.assembly.mesh import Mesh
from meshd.assembly.node_calls import NodeCalls
from meshd.clocks import boottime
from meshd.cluster.callers import WRONG_VERSION
from meshd.cluster.channels import MemberChannels
from meshd.model.errors import MeshError
from meshd.model.members import Member, Role
from meshd.model.position import Position
from meshd.model.state import State
from meshd.rpc.status_codes import error_of

log = logging.getLogger(__name__)

PAUSE = 0.5
"""Seconds before the next node is tried."""

SILENCE = 8.0
"""Seconds without an update after which a stream is given up: a node sends one every 2 s."""

BEHIND = 30.0
"""Seconds in which a node does not tell what it knows to be committed, after which another one is watched: its Redis
can't follow. It has to send much, and in turn, after other nodes died."""

BEHIND_KEPT = 300.0
"""Seconds for which such a node is the last one to be watched."""

PRESENCE_KEPT = 6.0
"""Seconds for which what another node said of who is online counts: a node that has just begun hears it from others. As
long as nobody leads, it may hear nothing."""


class PeerDuties:
    """Implements `Duties`."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._tasks: list[asyncio.Task[None]] = []
        self._attached: Member | None = None
        self._node_writable = False
        self._primary_id = ""
        self._heard = 0.0
        self._silence: asyncio.Timeout | None = None
        self._slept = False
        self._whole = False  # what is known came from a node since the start
        self._told: set[str] = set()  # members that the node which is watched told of
        self._began = 0.0  # watching there
        self._behind: dict[str, float] = {}  # when nodes were left for it

    redis_port = 0
    store_state = ""

    async def start(self) -> None:
        me = self._mesh.me
        if me is None:
            return
        self._channels = MemberChannels(self._mesh.identity, defaults.MESH_PORT, me.ipv4)
        self._calls = NodeCalls(self._channels)
        self._tasks = [
            self._mesh.keep_running(self._watch, "watch"),
            self._mesh.keep_running(self._report, "report"),
        ]

    async def stop(self, keep: bool = True) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "_channels"):
            await self._channels.close()

    async def erase(self) -> None:
        """A peer keeps nothing outside its folder."""

    def renew(self) -> None:
        """Watches anew, over new connections: nodes may have given these up, and TCP would try them for long."""
        self._slept = True
        if self._silence is not None and not self._silence.expired():
            self._silence.reschedule(asyncio.get_running_loop().time())

    def heard(self) -> None:
        """A connection that hung while no node was heard would wait seconds more."""
        if self._attached is None:
            self.renew()

    @property
    def writable(self) -> bool:
        return self._node_writable and boottime() - self._heard < SILENCE

    @property
    def primary_id(self) -> str:
        return self._primary_id if self._attached is not None else ""

    def checks(self) -> list[local_pb2.Check]:
        return []

    def _nodes(self) -> list[Member]:
        """The ones that answer first, then the rest. Each peer has an order of its own: so the peers spread over the
        nodes, and over those that are left when one dies (rendezvous hashing)."""
        mesh = self._mesh
        nodes = [one for one in mesh.present if one.role is Role.NODE and one.enabled]
        own = mesh.choices.member_id
        recently = boottime() - BEHIND_KEPT

        def order(node: Member) -> tuple[bool, bool, bytes]:
            behind = self._behind.get(node.id, recently) > recently
            return not mesh.sessions.prober.answered(node.ipv4), behind, _rank(own, node.id)

        return sorted(nodes, key=order)

    async def _watch(self) -> None:
        while self._mesh.me is not None:
            pause = PAUSE
            for node in self._nodes():
                try:
                    await self._watch_at(node)
                except grpc.aio.AioRpcError as failure:
                    self._ended(node, error_of(failure))
                except TimeoutError:
                    log.info("%s: %s has gone silent", self._mesh.name, node.name)
                    await self._channels.renew(node.id)
                self._attached, self._node_writable = None, False
                if self._slept:
                    self._slept = False
                    self._channels.renew_all()
                    pause = 0.0  # a node is there, and what it has to say may be that this machine was removed
                    break  # the nodes that answer are not the same any more
            await asyncio.sleep(pause)

    def _ended(self, node: Member, error: MeshError) -> None:
        log.debug("%s: watching at %s ended: %s", self._mesh.name, node.name, error)
        refused = f"{node.name} refuses this machine: {error} ({error.fix})" if error.code == WRONG_VERSION else ""
        if refused and refused != self._mesh.refused:
            self._mesh.event("state", refused, severity="error")
        self._mesh.refused = refused

    async def _watch_at(self, node: Member) -> None:
        mesh = self._mesh
        request = node_pb2.WatchViewRequest(
            mesh_id=mesh.choices.mesh_id,
            known=mesh.state.position.message,
            resume=mesh.state.position.message if self._whole else None,
            protocol_version=PROTOCOL_VERSION,
        )
        call = self._channels.stub(node).WatchView(request)
        self._told, self._began = set(), boottime()
        on_time = boottime()  # when it had last told all that is committed
        try:
            while True:
                async with asyncio.timeout(SILENCE) as self._silence:
                    update = await call.read()
                self._silence = None
                if not isinstance(update, node_pb2.ViewUpdate):
                    return  # grpc.aio.EOF
                self._attached, self._heard, mesh.refused = node, boottime(), ""
                if not await self._take(update):
                    return
                if mesh.committed <= mesh.state.position:
                    on_time = boottime()
                elif boottime() - on_time > BEHIND and self._another_answers(node):
                    log.warning("%s: %s does not tell what is committed", mesh.name, node.name)
                    self._behind[node.id] = boottime()
                    return
        finally:
            self._silence = None
            call.cancel()

    def _another_answers(self, node: Member) -> bool:
        answered = self._mesh.sessions.prober.answered
        return any(answered(one.ipv4) for one in self._nodes() if one.id != node.id)

    async def _take(self, update: node_pb2.ViewUpdate) -> bool:
        """Whether it follows on what is known; else all is wanted anew. A node that is behind tells who is online."""
        mesh = self._mesh
        self._node_writable = update.writable
        self._primary_id = update.primary_id
        committed = Position.from_message(update.committed)
        whole, self._whole = self._whole, False  # until it is taken
        if update.HasField("snapshot"):
            state = State.from_view(update.snapshot)
            if state.position >= mesh.state.position:
                mesh.set_state(state)
                whole = True
        elif update.entries and committed > mesh.state.position and not self._take_entries(update.entries, committed):
            return False
        self._whole = whole
        mesh.committed = max(mesh.committed, committed)
        self._told.update(seen.member_id for seen in update.presence)
        known = mesh.presence
        if update.primary_id and boottime() - self._began > PRESENCE_KEPT:  # an earlier node said it, this one does not
            known = {key: seen for key, seen in known.items() if key in self._told}
        mesh.take_presence([*known.values(), *update.presence], update.nodes)
        await mesh.notify()
        return True

    def _take_entries(self, entries: Sequence[state_pb2.ChangeEntry], committed: Position) -> bool:
        mesh = self._mesh
        if mesh.state.position.revision + len(entries) != committed.revision:
            log.warning("%s: the changes up to %s don't follow on %s", mesh.name, committed, mesh.state.position)
            return False
        state, taken = mesh.state, []
        for entry in entries:
            position = Position(committed.epoch, state.position.revision + 1)
            state = state.with_entry(entry, position)
            taken.append((position, entry))
        mesh.set_state(state, taken)
        return True

    async def _report(self) -> None:
        mesh = self._mesh
        while mesh.me is not None:
            if self._attached is not None:
                try:
                    await self._channels.stub(self._attached).Report(
                        node_pb2.MemberReport(
                            mesh_id=mesh.choices.mesh_id,
                            member_id=mesh.choices.member_id,
                            protocol_version=PROTOCOL_VERSION,
                        ),
                        timeout=defaults.REPORT_INTERVAL,
                    )
                except grpc.aio.AioRpcError as error:
                    log.debug("%s: report: %s", mesh.name, error.details())
            await asyncio.sleep(defaults.REPORT_INTERVAL)

    async def submit(self, change: node_pb2.Change, timeout: float) -> node_pb2.ChangeResult:
        """Asks one node after the other while none answers; the primary knows a repeated request by its id."""
        deadline = time.monotonic() + timeout
        found = node_pb2.ChangeResult(
            outcome=node_pb2.ChangeResult.REFUSED,
            code="unavailable",
            message=f"no node of {self._mesh.name} is known",
        )
        attached = self._attached.id if self._attached is not None else ""
        nodes = sorted(self._nodes(), key=lambda one: one.id != attached)
        for left, node in zip(range(len(nodes), 0, -1), nodes, strict=True):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            share = remaining if left == 1 else remaining * 0.6
            request = node_pb2.SubmitRequest(
                mesh_id=self._mesh.choices.mesh_id, change=change, timeout_ms=int(share * 1000)
            )
            result = await self._calls.submit(node, request, share)
            if result.outcome == node_pb2.ChangeResult.DONE or result.code not in ("", "unavailable"):
                return result
            if found.outcome != node_pb2.ChangeResult.UNKNOWN:
                found = result  # one that may have been made stays so, whatever the next node says
        return found


def _rank(peer_id: str, node_id: str) -> bytes:
    return hashlib.sha256(f"{peer_id} {node_id}".encode()).digest()
