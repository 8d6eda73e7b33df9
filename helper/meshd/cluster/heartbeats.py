"""The primary's sign of life to every node, and what the nodes answer: how far they are and whom they reach."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from meshproto import PROTOCOL_VERSION, node_pb2

from meshd.model.members import Member
from meshd.model.position import Position

INTERVAL = 0.2
"""Seconds between heartbeats (DESIGN.md section 11)."""

PRESENCE_INTERVAL = 1.0
"""Seconds between heartbeats to one node that tell it who is online: for thousands of members that is far more than the
rest of a heartbeat."""

ANSWER_LIMIT = 0.75
"""Seconds after which a node that has not answered no longer counts as answering: the lease of DESIGN.md section 11."""


class NodeCaller(Protocol):
    """Calls to other nodes; None when the node did not answer in time."""

    async def heartbeat(
        self, member: Member, request: node_pb2.HeartbeatRequest, timeout: float
    ) -> node_pb2.HeartbeatReply | None: ...

    async def confirm(
        self, member: Member, request: node_pb2.ConfirmRequest, timeout: float
    ) -> node_pb2.ConfirmReply | None: ...


class Heartbeats:
    """One task for each other node. `request` gives what to send now; `own_presence` what this node itself reaches."""

    def __init__(
        self,
        self_id: str,
        nodes: Callable[[], Mapping[str, Member]],
        caller: NodeCaller,
        request: Callable[[], node_pb2.HeartbeatRequest],
        own_presence: Callable[[], Iterable[node_pb2.Presence]],
        interval: float = INTERVAL,
    ) -> None:
        self._self_id = self_id
        self._nodes = nodes
        self._caller = caller
        self._request = request
        self._own_presence = own_presence
        self._interval = interval
        self._replies: dict[str, node_pb2.HeartbeatReply] = {}
        self._answered: dict[str, float] = {}
        self._kicks: dict[str, asyncio.Event] = {}
        self._committed = Position()
        self._last_online: dict[str, float] = {}
        self._began = time.monotonic()
        self._new_answer = asyncio.Event()

    def kick(self) -> None:
        """Sends the next heartbeat to everybody now."""
        for event in self._kicks.values():
            event.set()

    def set_committed(self, position: Position) -> None:
        self._committed = position
        self.kick()

    def answering(self) -> set[str]:
        """Ids of the nodes that answered within the lease."""
        limit = time.monotonic() - ANSWER_LIMIT
        return {node_id for node_id, at in self._answered.items() if at >= limit}

    def holding(self, position: Position) -> set[str]:
        """Ids of the answering nodes whose Redis holds that entry."""
        return {
            node_id for node_id in self.answering() if Position.from_message(self._replies[node_id].stored) >= position
        }

    def applied(self, position: Position) -> set[str]:
        """Ids of the answering nodes whose data plane is at least there."""
        return {
            node_id for node_id in self.answering() if Position.from_message(self._replies[node_id].applied) >= position
        }

    async def next_answer(self, timeout: float) -> None:
        """Returns when a node answered, or after `timeout` seconds."""
        self._new_answer.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._new_answer.wait()
        except TimeoutError:
            return

    def health(self) -> list[node_pb2.NodeHealth]:
        """Each other node as it was seen last."""
        answering = self.answering()
        return [
            node_pb2.NodeHealth(
                member_id=node_id,
                confirmed=reply.confirmed,
                stored=reply.stored,
                store_state=reply.store_state,
                reachable=node_id in answering,
            )
            for node_id, reply in self._replies.items()
        ]

    def presence(self) -> list[node_pb2.Presence]:
        """Every member that is or was reached, as all answering nodes together see it."""
        merged: dict[str, node_pb2.Presence] = {}
        answering = self.answering()
        sources: list[Iterable[node_pb2.Presence]] = [self._own_presence()]
        sources += [reply.presence for node_id, reply in self._replies.items() if node_id in answering]
        for source in sources:
            for seen in source:
                known = merged.get(seen.member_id)
                merged[seen.member_id] = seen if known is None else _together(known, seen)
        for node_id in {*answering, self._self_id}:
            here = node_pb2.Presence(member_id=node_id, online=True)
            merged[node_id] = _together(merged[node_id], here) if node_id in merged else here
        now = time.monotonic()
        self._last_online.update({member_id: now for member_id, seen in merged.items() if seen.online})
        return list(merged.values())

    def offline_ms(self) -> dict[str, int]:
        """Milliseconds since `presence` last saw each member online, counted from the start of this term at most."""
        now = time.monotonic()
        return _Since(now, self._began, self._last_online)

    async def run(self) -> None:
        """Runs until cancelled."""
        tasks: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                wanted = {node_id for node_id in self._nodes() if node_id != self._self_id}
                for node_id in wanted - tasks.keys():
                    tasks[node_id] = asyncio.create_task(self._beat(node_id))
                for node_id in tasks.keys() - wanted:
                    tasks.pop(node_id).cancel()
                    for table in (self._replies, self._answered, self._kicks):
                        table.pop(node_id, None)
                await asyncio.sleep(self._interval)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _beat(self, node_id: str) -> None:
        kicked = self._kicks.setdefault(node_id, asyncio.Event())
        told = 0.0
        while True:
            member = self._nodes().get(node_id)
            if member is None:
                return
            kicked.clear()
            request = self._request()
            request.committed.CopyFrom(self._committed.message)
            request.protocol_version = PROTOCOL_VERSION
            sent = time.monotonic()
            if sent - told < PRESENCE_INTERVAL:
                request.ClearField("presence")
            reply = await self._caller.heartbeat(member, request, max(1.0, self._interval * 5))
            if reply is not None:
                self._replies[node_id] = reply
                self._answered[node_id] = sent
                told = sent if request.presence else told
                self._new_answer.set()
            try:
                async with asyncio.timeout(self._interval):
                    await kicked.wait()
            except TimeoutError:
                pass


def _together(one: node_pb2.Presence, other: node_pb2.Presence) -> node_pb2.Presence:
    """What two nodes know of one member. A new message: those of the nodes stay as they are."""
    return node_pb2.Presence(
        member_id=one.member_id,
        online=one.online or other.online,
        latest_handshake_ms=max(one.latest_handshake_ms, other.latest_handshake_ms),
        protocol_version=max(one.protocol_version, other.protocol_version),
        attached_node_ids=dict.fromkeys([*one.attached_node_ids, *other.attached_node_ids]),
        candidates=dict.fromkeys([*one.candidates, *other.candidates]),
    )


class _Since(dict[str, int]):
    """Milliseconds since a member was online, also for those never seen in this term."""

    def __init__(self, now: float, began: float, last_online: Mapping[str, float]) -> None:
        super().__init__({key: int((now - at) * 1000) for key, at in last_online.items()})
        self._default = int((now - began) * 1000)

    def get(self, key: str, default: object = None) -> int:
        return super().get(key, self._default)

    def __missing__(self, key: str) -> int:
        return self._default
