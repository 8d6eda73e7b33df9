"""Calls from this member to other members, over mutual TLS on their overlay addresses."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import grpc.aio
from meshproto import node_pb2

if TYPE_CHECKING:
    from meshproto.node_pb2_grpc import MeshNodeAsyncStub  # exists for type checkers only

from meshd.cluster.channels import MemberChannels
from meshd.model.errors import MeshError, OutcomeUnknown, Timeout
from meshd.model.members import Member
from meshd.rpc.status_codes import error_of

SILENCE = 2.0
"""Seconds without an answer after which a connection is made anew."""

Reply = TypeVar("Reply")


class NodeCalls:
    """None or an error instead of gRPC's exceptions."""

    def __init__(self, channels: MemberChannels) -> None:
        self._channels = channels
        self._silent: dict[str, float] = {}  # since when a node has not answered

    async def _call(self, member: Member, call: Callable[[MeshNodeAsyncStub], Awaitable[Reply]]) -> Reply | None:
        try:
            reply = await call(self._channels.stub(member))
        except grpc.aio.AioRpcError:
            await self._note_silence(member.id)
            return None
        self._silent.pop(member.id, None)
        return reply

    async def _note_silence(self, member_id: str) -> None:
        """Connects anew to a node that stays silent: after a partition the old connection may hang. One that is being
        made is left alone: gRPC gives it up by itself after 2 s, or a few round trips of a slow link later."""
        now = time.monotonic()
        if self._channels.connecting(member_id):
            return
        if now - self._silent.setdefault(member_id, now) > SILENCE:
            self._silent[member_id] = now
            await self._channels.renew(member_id)

    async def heartbeat(
        self, member: Member, request: node_pb2.HeartbeatRequest, timeout: float
    ) -> node_pb2.HeartbeatReply | None:
        return await self._call(member, lambda stub: stub.Heartbeat(request, timeout=timeout))

    async def confirm(
        self, member: Member, request: node_pb2.ConfirmRequest, timeout: float
    ) -> node_pb2.ConfirmReply | None:
        return await self._call(member, lambda stub: stub.Confirm(request, timeout=timeout))

    async def vote(self, member: Member, request: node_pb2.VoteRequest, timeout: float) -> node_pb2.VoteReply | None:
        return await self._call(member, lambda stub: stub.Vote(request, timeout=timeout))

    async def take_over(self, member: Member, request: node_pb2.TakeOverRequest, timeout: float) -> None:
        await self._call(member, lambda stub: stub.TakeOver(request, timeout=timeout))

    async def submit(self, member: Member, request: node_pb2.SubmitRequest, timeout: float) -> node_pb2.ChangeResult:
        """Never raises: a node that can't be reached refuses nothing and carries nothing out; an answer that was lost
        leaves the outcome unknown."""
        try:
            reply = await self._channels.stub(member).Submit(request, timeout=timeout)
            return reply.result
        except grpc.aio.AioRpcError as failure:
            error: MeshError = error_of(failure)
            if isinstance(error, Timeout | OutcomeUnknown):
                return node_pb2.ChangeResult(
                    outcome=node_pb2.ChangeResult.UNKNOWN,
                    message=f"{member.name}: {error.message}; the change may have been made",
                    fix="check with `meshctl events`; repeating it is safe",
                )
            return node_pb2.ChangeResult(
                outcome=node_pb2.ChangeResult.REFUSED,
                code=error.code,
                message=f"{member.name} can't be reached: {error.message}"
                if error.code == "unavailable"
                else error.message,
                fix=error.fix,
            )
