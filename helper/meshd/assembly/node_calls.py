"""Calls from this member to other members, over mutual TLS on their overlay addresses."""

from __future__ import annotations

import grpc.aio
from meshproto import node_pb2

from meshd.cluster.channels import MemberChannels
from meshd.model.errors import MeshError, OutcomeUnknown, Timeout
from meshd.model.members import Member
from meshd.rpc.status_codes import error_of


class NodeCalls:
    """None or an error instead of gRPC's exceptions."""

    def __init__(self, channels: MemberChannels) -> None:
        self._channels = channels

    async def heartbeat(
        self, member: Member, request: node_pb2.HeartbeatRequest, timeout: float
    ) -> node_pb2.HeartbeatReply | None:
        try:
            return await self._channels.stub(member).Heartbeat(request, timeout=timeout)
        except grpc.aio.AioRpcError:
            return None

    async def confirm(
        self, member: Member, request: node_pb2.ConfirmRequest, timeout: float
    ) -> node_pb2.ConfirmReply | None:
        try:
            return await self._channels.stub(member).Confirm(request, timeout=timeout)
        except grpc.aio.AioRpcError:
            return None

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
