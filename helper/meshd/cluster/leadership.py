"""What a node does as primary, and the messages of its election to others: the `Links` of the elector."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from meshproto import node_pb2

from meshd.cluster.authority import CertificateAuthority
from meshd.cluster.election.messages import (
    ConfirmReply,
    ConfirmRequest,
    HandOver,
    Heartbeat,
    Message,
    VoteReply,
    VoteRequest,
)
from meshd.cluster.election.state import Timing
from meshd.cluster.elector import Elector
from meshd.cluster.heartbeats import Heartbeats, NodeCaller
from meshd.cluster.primary import Primary
from meshd.cluster.replica import Replica
from meshd.cluster.turns import Want
from meshd.lasting import keep_running
from meshd.model.members import Member
from meshd.model.position import Position
from meshd.model.state import State
from meshd.model.voters import Voters
from meshd.store.copy_format import CopyFormat
from meshd.store.database import Database
from meshd.store.errors import StoreFailed
from meshd.store.replication import Credentials, Replication
from meshd.store.server import StoreServer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a primary sits: who it is, and where its Redis can be copied from."""

    mesh_id: str
    member_id: str
    redis_host: str
    redis_port: int
    open_authority: Callable[[State], CertificateAuthority]  # from the data of the term; raises NotPermitted


class Leadership:
    """`primary` is there from the first entry of a term to the end of it."""

    def __init__(
        self,
        seat: Seat,
        server: StoreServer,
        database: Database,
        replication: Replication,
        replica: Replica,
        caller: NodeCaller,
        nodes: Callable[[], Mapping[str, Member]],
        presence: Callable[[], Iterable[node_pb2.Presence]],
        own_presence: Callable[[], Iterable[node_pb2.Presence]],
        on_committed: Callable[[Position], None],
        report: Callable[[str], None],
    ) -> None:
        self._seat = seat
        self._server = server
        self._database = database
        self._replication = replication
        self._replica = replica
        self._caller = caller
        self._nodes = nodes
        self._presence = presence
        self._own_presence = own_presence
        self._on_committed = on_committed
        self._report = report
        self._credentials: Credentials | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self.elector: Elector | None = None
        self.primary: Primary | None = None
        self.heartbeats = self._new_heartbeats()

    def _new_heartbeats(self) -> Heartbeats:
        return Heartbeats(
            self._seat.member_id, self._caller, self._request, self._own_presence, self._timing, self._own_want
        )

    def _own_want(self) -> Want:
        return self._replica.rewriting.want

    def may_rewrite(self) -> bool:
        """Whether it is this node's turn to rewrite its append-only file: the primary says so, to itself, too. Not when
        it was paused, and another one may have given a turn since."""
        if self.primary is not None and self.elector is not None:
            return self.elector.answerable() and self.heartbeats.turn() == self._seat.member_id
        return self._replica.rewriting.our_turn

    def _timing(self) -> Timing:
        return self.elector.state.timing if self.elector is not None else Timing()

    def _request(self) -> node_pb2.HeartbeatRequest:
        own = self._server.copy_format
        message = node_pb2.HeartbeatRequest(
            redis_format=own.number,
            redis_server=own.server,
            mesh_id=self._seat.mesh_id,
            primary_id=self._seat.member_id,
            redis_host=self._seat.redis_host,
            redis_port=self._seat.redis_port,
            presence=self._presence(),
            nodes=self.health(),
        )
        if self._credentials is not None:
            message.redis_user, message.redis_password = self._credentials.user, self._credentials.password
        return message

    def health(self) -> list[node_pb2.NodeHealth]:
        """Each node as it was seen last; this one, too."""
        if self.elector is None:
            return self.heartbeats.health()
        own = node_pb2.NodeHealth(
            member_id=self._seat.member_id,
            confirmed=self.elector.committed.message,
            stored=self.elector.state.position.message,
            store_state=self.elector.store_state,
            reachable=True,
        )
        return [own, *self.heartbeats.health()]

    @property
    def copy_format(self) -> CopyFormat:
        """Of the Redis here."""
        return self._server.copy_format

    def not_copying(self, target: str) -> dict[str, CopyFormat]:
        """Which of the nodes that were heard have a Redis that can't read the copies of that node's, and what it is."""
        formats = {**self.heartbeats.formats(), self._seat.member_id: self._server.copy_format}
        theirs = formats.get(target, CopyFormat())
        return {node_id: one for node_id, one in formats.items() if not one.reads(theirs)}

    # --- Links ------------------------------------------------------------------------------------------------------

    async def send(self, to: str, message: Message) -> Message | None:
        member = self._nodes().get(to)
        if member is None:
            return None
        timing = self._timing()
        match message:
            case Heartbeat():
                self.heartbeats.keep_only(self._nodes())
                return await self.heartbeats.send(member, message)
            case ConfirmRequest(position):
                request = node_pb2.ConfirmRequest(
                    mesh_id=self._seat.mesh_id,
                    primary_id=self._seat.member_id,
                    position=position.message,
                    wait_ms=int(timing.timeout * 1000),  # it is asked again with the heartbeats
                )
                answer = await self._caller.confirm(member, request, timing.timeout + timing.round)
                if answer is None:
                    return None
                return ConfirmReply(answer.promised_epoch, Position.from_message(answer.confirmed))
            case VoteRequest(epoch, position, trial, released):
                own = self._server.copy_format
                vote = node_pb2.VoteRequest(
                    mesh_id=self._seat.mesh_id,
                    epoch=epoch,
                    position=position.message,
                    trial=trial,
                    released=released,
                    redis_format=own.number,
                    redis_server=own.server,
                )
                reply = await self._caller.vote(member, vote, timing.round)
                return None if reply is None else VoteReply(epoch, trial, reply.promised_epoch, reply.refusal)
            case HandOver(epoch):
                over = node_pb2.TakeOverRequest(mesh_id=self._seat.mesh_id, epoch=epoch)
                await self._caller.take_over(member, over, timing.round)
                return None
            case _:
                return None

    async def follow(self, primary: str, epoch: int) -> None:
        await self._replica.follow(primary, epoch)

    async def keep_aside(self, position: Position) -> None:
        kept = await self._server.keep_aside(f"replaced-{position.epoch}-{position.revision}")
        self._report(
            "another node was made the primary by force: what only this node has, up to revision "
            f"{position.revision}, is dropped; {f'a copy is in {kept}' if kept else 'no copy was made of this Redis'}"
        )

    async def begin(self, epoch: int, base: Position, voters: Voters | None) -> tuple[Position, Voters]:
        assert self.elector is not None
        head = State.from_view(await self._database.load())
        if head.position != base:
            raise StoreFailed(f"the data is at {head.position}, elected with {base}")
        authority = self._seat.open_authority(head)
        self.heartbeats = self._new_heartbeats()
        primary = Primary(
            self._seat.member_id,
            head,
            epoch,
            self._database,
            self.elector,
            self.heartbeats,
            authority,
            os.urandom,
        )
        position = await primary.write_first(voters)
        self._credentials = await self._replication.offer(epoch)
        self.primary = primary
        return position, Voters.from_message(primary.head.voters)

    async def began(self) -> None:
        if self.primary is not None:
            self._upkeep = keep_running(self.primary.upkeep, "upkeep of the mesh")

    async def end(self, epoch: int, reason: str) -> None:
        if self.primary is not None:
            for member in self._nodes().values():
                reason = reason.replace(member.id, member.name)
            self._report(f"this node is not the primary any more: {reason}")
        self.primary, self._credentials = None, None
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            upkeep.cancel()
            await asyncio.wait([upkeep])

    def committed(self, position: Position) -> None:
        self._on_committed(position)
