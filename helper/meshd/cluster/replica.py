"""A node's answers to the primary and to candidates: what the election says, and whom its Redis is to copy from.

What its Redis could not read it does not copy, nor does it vote for who would have it do so: a voter without a copy
confirms nothing, so its vote is worth nothing, and those whom a quorum can copy from are elected at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from meshproto import node_pb2

from meshd.cluster.election.messages import (
    ConfirmRequest,
    HandOver,
    Heartbeat,
    HeartbeatReply,
    VoteReply,
    VoteRequest,
)
from meshd.cluster.elector import Elector
from meshd.cluster.rewriting import Rewriting
from meshd.model.errors import NotPermitted, Unavailable
from meshd.model.position import Position
from meshd.model.voters import LONGEST_TIMEOUT_MS
from meshd.store.copy_format import CopyFormat
from meshd.store.errors import StoreFailed
from meshd.store.replication import Credentials, Replication

log = logging.getLogger(__name__)

Source = tuple[IPv4Address | IPv6Address, int, Credentials]


class Replica:
    """Takes messages of other nodes in; the caller's certificate says whose they are."""

    def __init__(
        self,
        replication: Replication,
        applied: Callable[[], Position],
        presence: Callable[[], list[node_pb2.Presence]],
        on_heartbeat: Callable[[node_pb2.HeartbeatRequest], None],
        rewriting: Rewriting,
        copy_format: Callable[[], CopyFormat],
    ) -> None:
        """`copy_format`: of the Redis here."""
        self._replication = replication
        self._copy_format = copy_format
        self._formats: dict[str, CopyFormat] = {}  # of the primary that was heard last
        self.unread = ""  # why its copies are not made here; "" when they are
        self.not_voted: tuple[float, str, str] | None = None  # when (CLOCK_MONOTONIC), for whom, and why not
        self._applied = applied
        self._presence = presence
        self._on_heartbeat = on_heartbeat
        self._sources: dict[tuple[str, int], Source] = {}
        self._state = ""
        self.rewriting = rewriting

    async def heartbeat(
        self, elector: Elector, caller_id: str, request: node_pb2.HeartbeatRequest
    ) -> node_pb2.HeartbeatReply:
        """The sign of life of a primary. One of an old epoch learns from the answer that it is over."""
        if caller_id != request.primary_id:
            raise NotPermitted(f"{caller_id} speaks for {request.primary_id}")
        committed = Position.from_message(request.committed)
        if caller_id not in self._formats:
            self.unread = ""  # of the primary before
        if request.redis_user:
            source = _source(request)
            self._sources = {(caller_id, request.epoch): source}
            self._formats = {caller_id: CopyFormat.told(request.redis_server, request.redis_format)}
        told = min(request.election_timeout_ms, LONGEST_TIMEOUT_MS) / 1000
        # Its number says in which order they were sent, which is all that the machine asks of the time here.
        beat = Heartbeat(request.epoch, float(request.number), committed, bool(request.redis_user), told)
        reply = await elector.received(caller_id, beat)
        if not isinstance(reply, HeartbeatReply):
            raise Unavailable("this node is stopping")
        state = elector.store_state
        if reply.promised_epoch == request.epoch:
            self._on_heartbeat(request)
            self.rewriting.told(request.rewrite, elector.state.timing.lease, request.epoch, request.number)
            if reply.stored < committed:
                state = f"{max(committed.revision - reply.stored.revision, 0)} changes behind"
            state = self.unread or state
        if state != self._state:
            log.info("replica state: %s", state)
            self._state = state
        own = self._copy_format()
        return node_pb2.HeartbeatReply(
            redis_format=own.number,
            redis_server=own.server,
            promised_epoch=reply.promised_epoch,
            confirmed=elector.state.promise.floor.message,
            stored=reply.stored.message,
            presence=self._presence(),
            store_state=state,
            applied=self._applied().message,
            copying=reply.copying,
            outgrown=self.rewriting.want.outgrown,
            rewriting=self.rewriting.want.begun,
        )

    async def follow(self, primary: str, epoch: int) -> None:
        """Has the local Redis copy from the primary, as its last heartbeat said. Raises StoreFailed."""
        source = self._sources.get((primary, epoch))
        if source is None:
            raise StoreFailed(f"where the redis of epoch {epoch} is was not said")
        own, theirs = self._copy_format(), self._formats[primary]
        unread = "" if own.reads(theirs) else _unread(own, theirs)
        if unread != self.unread and unread:
            log.error("%s: %s is not followed", unread, primary)
        self.unread = unread
        if unread:  # it would empty this Redis to load what it can't
            await self._replication.park()
            return
        await self._replication.follow(*source)

    async def confirm(
        self, elector: Elector, caller_id: str, request: node_pb2.ConfirmRequest
    ) -> node_pb2.ConfirmReply:
        """Waits for the position to be here and durable, at most as long as the primary said and never over 10 s."""
        wanted = ConfirmRequest(Position.from_message(request.position))
        reply = await elector.confirm(caller_id, wanted, min(request.wait_ms, 10_000) / 1000)
        return node_pb2.ConfirmReply(
            promised_epoch=reply.promised_epoch, confirmed=reply.confirmed.message, store_state=elector.store_state
        )

    async def vote(self, elector: Elector, caller_id: str, request: node_pb2.VoteRequest) -> node_pb2.VoteReply:
        own, theirs = self._copy_format(), CopyFormat.told(request.redis_server, request.redis_format)
        if not own.reads(theirs):
            why = _unread(own, theirs)
            log.info("no vote in epoch %d for %s: %s", request.epoch, caller_id, why)
            self.not_voted = time.monotonic(), caller_id, why
            return node_pb2.VoteReply(promised_epoch=elector.state.promise.epoch, refusal="format")
        asked = VoteRequest(request.epoch, Position.from_message(request.position), request.trial, request.released)
        reply = await elector.received(caller_id, asked)
        if not isinstance(reply, VoteReply):
            raise Unavailable("this node is stopping")
        if not request.trial:
            log.info("vote in epoch %d for %s: %s", request.epoch, caller_id, reply.refusal or "given")
        return node_pb2.VoteReply(promised_epoch=reply.promised_epoch, refusal=reply.refusal)

    async def take_over(self, elector: Elector, caller_id: str, request: node_pb2.TakeOverRequest) -> None:
        log.info("%s hands epoch %d over", caller_id, request.epoch)
        await elector.received(caller_id, HandOver(request.epoch))


def _unread(own: CopyFormat, theirs: CopyFormat) -> str:
    return f"{own.server} here can't read the copies that {theirs.server} makes"


def _source(request: node_pb2.HeartbeatRequest) -> Source:
    """Raises NotPermitted for an address that is none."""
    try:
        address = ip_address(request.redis_host)
    except ValueError:
        raise NotPermitted("the heartbeat names no address of a redis") from None
    return address, request.redis_port, Credentials(request.redis_user, request.redis_password)
