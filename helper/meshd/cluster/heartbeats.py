"""The primary's sign of life to every node, and what the nodes answer: how far they are and whom they reach.

The election says when one is sent, and judges the answers.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from meshproto import PROTOCOL_VERSION, node_pb2

from meshd.cluster.election.messages import Heartbeat, HeartbeatReply
from meshd.cluster.election.state import Timing
from meshd.cluster.turns import BEGUN_KEPT, Want, next_turn
from meshd.model.members import Member
from meshd.model.position import Position
from meshd.store.copy_format import CopyFormat

PRESENCE_INTERVAL = 1.0
"""Seconds between heartbeats to one node that tell it who is online: for thousands of members that is far more than the
rest of a heartbeat."""

CALLS_AT_ONCE = 4
"""To one node. A node that is slow to answer is not sent more."""


class NodeCaller(Protocol):
    """Calls to other nodes; None when the node did not answer in time."""

    async def heartbeat(
        self, member: Member, request: node_pb2.HeartbeatRequest, timeout: float
    ) -> node_pb2.HeartbeatReply | None: ...

    async def confirm(
        self, member: Member, request: node_pb2.ConfirmRequest, timeout: float
    ) -> node_pb2.ConfirmReply | None: ...

    async def vote(
        self, member: Member, request: node_pb2.VoteRequest, timeout: float
    ) -> node_pb2.VoteReply | None: ...

    async def take_over(self, member: Member, request: node_pb2.TakeOverRequest, timeout: float) -> None: ...


class Heartbeats:
    """Of one term. `request` gives what to send now; `own_presence` what this node itself reaches."""

    def __init__(
        self,
        self_id: str,
        caller: NodeCaller,
        request: Callable[[], node_pb2.HeartbeatRequest],
        own_presence: Callable[[], Iterable[node_pb2.Presence]],
        timing: Callable[[], Timing] = Timing,
        own_want: Callable[[], Want] = Want,
    ) -> None:
        """`own_want`: whether this node's own append-only file is to be rewritten."""
        self._timing = timing
        self._own_want = own_want
        self._turn = ""
        self._number = 0  # of the last heartbeat
        self._self_id = self_id
        self._caller = caller
        self._request = request
        self._own_presence = own_presence
        self._replies: dict[str, node_pb2.HeartbeatReply] = {}
        self._answered: dict[str, float] = {}
        self._wants: dict[str, Want] = {}  # of every node that was sent a heartbeat
        self._begun: dict[str, float] = {}  # since when each is at its rewriting
        self._calls: dict[str, int] = {}
        self._told: dict[str, float] = {}  # when it was told who is online
        self._last_online: dict[str, float] = {}
        self._began = time.monotonic()
        self._new_answer = asyncio.Event()

    async def send(self, member: Member, beat: Heartbeat) -> HeartbeatReply | None:
        """To one node; None without an answer."""
        if self._calls.get(member.id, 0) >= CALLS_AT_ONCE:
            return None
        request = self._request()
        request.epoch = beat.epoch
        request.committed.CopyFrom(beat.committed.message)
        request.protocol_version = PROTOCOL_VERSION
        request.election_timeout_ms = round(beat.timeout * 1000)
        sent = time.monotonic()
        self._number += 1
        request.number = self._number
        self._wants.setdefault(member.id, Want())
        # Who has nothing to rewrite is not told again: the turn ends with the answer to the last telling.
        request.rewrite = self.turn() == member.id and self._wants[member.id].outgrown
        if request.rewrite:
            self._wants[member.id] = replace(self._wants[member.id], told=sent)
        if not beat.open:
            request.redis_user = request.redis_password = ""
        if sent - self._told.get(member.id, -math.inf) < PRESENCE_INTERVAL:
            request.ClearField("presence")
        self._calls[member.id] = self._calls.get(member.id, 0) + 1
        try:
            reply = await self._caller.heartbeat(member, request, self._timing().timeout)  # later it is worth nothing
        finally:
            self._calls[member.id] -= 1
        if reply is None:
            return None
        if sent >= self._answered.get(member.id, sent):  # else the answer to a later one was here first
            self._replies[member.id] = reply
            self._answered[member.id] = sent
            known = self._wants.get(member.id, Want())
            want = Want(sent, reply.outgrown, reply.rewriting, told=known.told)
            self._wants[member.id] = self._judged(member.id, want, sent)
        if request.presence:
            self._told[member.id] = sent
        self._new_answer.set()
        return HeartbeatReply(reply.promised_epoch, beat.sent_at, Position.from_message(reply.stored), reply.copying)

    def keep_only(self, nodes: Iterable[str]) -> None:
        """Forgets nodes that are gone."""
        for node_id in self._wants.keys() - set(nodes):
            for table in (self._replies, self._answered, self._told, self._wants, self._begun):
                table.pop(node_id, None)

    def answering(self) -> set[str]:
        """Ids of the nodes that answered within the lease."""
        limit = time.monotonic() - self._timing().lease
        return {node_id for node_id, at in self._answered.items() if at >= limit}

    def formats(self) -> dict[str, CopyFormat]:
        """In which the Redis of each node that answered once writes full copies, by the node's id."""
        return {one: CopyFormat.told(reply.redis_server, reply.redis_format) for one, reply in self._replies.items()}

    def applied(self, position: Position) -> set[str]:
        """Ids of the answering nodes whose data plane is at least there."""
        return {
            node_id for node_id in self.answering() if Position.from_message(self._replies[node_id].applied) >= position
        }

    def turn(self) -> str:
        """Id of the node that may rewrite its append-only file now, until it has. "" for nobody."""
        now, lease = time.monotonic(), self._timing().lease
        own = self._judged(self._self_id, self._own_want(), now)
        self._turn = next_turn(self._turn, self._self_id, own, self._wants, self._began, now, lease)
        return self._turn

    def _judged(self, node_id: str, want: Want, now: float) -> Want:
        """With whether it is late."""
        if not want.begun:
            self._begun.pop(node_id, None)
            return want
        return replace(want, late=now - self._begun.setdefault(node_id, now) > BEGUN_KEPT)

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
