"""The in-mesh server: mutual TLS on the overlay addresses. Names the caller, then hands over to `MeshApi`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NoReturn, Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from meshproto import node_pb2
from meshproto.node_pb2_grpc import MeshNodeServicer, add_MeshNodeServicer_to_server

from meshd.cluster.callers import caller, check_version, spoken_version
from meshd.cluster.certificates import certificate_pem, private_key_pem
from meshd.cluster.channels import CHANNEL_OPTIONS
from meshd.cluster.identity import Identity
from meshd.model.errors import Failed, MeshError, NotPermitted
from meshd.model.members import Member, Role
from meshd.model.state import State
from meshd.rpc.status_codes import abort

log = logging.getLogger(__name__)

SERVER_OPTIONS = (
    *(one for one in CHANNEL_OPTIONS if one[0] != "grpc.max_receive_message_length"),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 2000),
    ("grpc.http2.max_ping_strikes", 0),
)

REQUEST_LIMIT = 4 * 1024 * 1024
"""Bytes in one request: a heartbeat that says where 3,000 members are has about 1 MB. gRPC itself ends what is far more
than that, before anybody is asked who sent it."""

Reply = TypeVar("Reply")


class MeshApi(Protocol):
    """What a member may ask of this node; every method gets the verified caller."""

    def spoke(self, member: Member, version: int) -> None:
        """Called first: the caller speaks this version of the messages, 0 when it does not say."""

    def refused(self, source: str, what: str, reason: str) -> None:
        """Takes note of a call that the caller had no right to: from which address, of which message, and why."""

    async def heartbeat(self, member: Member, request: node_pb2.HeartbeatRequest) -> node_pb2.HeartbeatReply: ...

    async def confirm(self, member: Member, request: node_pb2.ConfirmRequest) -> node_pb2.ConfirmReply: ...

    async def vote(self, member: Member, request: node_pb2.VoteRequest) -> node_pb2.VoteReply: ...

    async def take_over(self, member: Member, request: node_pb2.TakeOverRequest) -> node_pb2.TakeOverReply: ...

    async def submit_for(self, member: Member, request: node_pb2.SubmitRequest) -> node_pb2.SubmitReply: ...

    def watch_view(self, member: Member, request: node_pb2.WatchViewRequest) -> AsyncIterator[node_pb2.ViewUpdate]: ...

    async def report(self, member: Member, request: node_pb2.MemberReport) -> node_pb2.ReportReply: ...


class _Servicer(MeshNodeServicer):
    def __init__(self, api: MeshApi, state: Callable[[], State]) -> None:
        self._api = api
        self._state = state

    def _caller(self, context: Any) -> Member:
        member = caller(context, self._state)
        version = spoken_version(context)
        self._api.spoke(member, version)
        check_version(member, version)
        return member

    async def _serve(
        self, context: Any, request: Message, call: Callable[[Member], Awaitable[Reply]], nodes_only: bool = False
    ) -> Reply:
        try:
            member = self._caller(context)
            self._check(member, request, nodes_only)
            return await call(member)
        except MeshError as error:
            await self._refuse(context, request, error)

    def _check(self, member: Member, request: Message, nodes_only: bool) -> None:
        if nodes_only and member.role is not Role.NODE:
            raise NotPermitted(f"{member.name} is not a node")
        size = request.ByteSize()
        if size > REQUEST_LIMIT:
            raise NotPermitted(f"{member.name} sent {size} bytes, more than any message has")

    async def _refuse(self, context: Any, request: Message, error: MeshError) -> NoReturn:
        source = context.peer()
        if not source:  # its connection has gone: there is nobody to answer, and nothing that was tried
            raise asyncio.CancelledError
        if isinstance(error, NotPermitted):
            log.warning("refused a call from %s: %s", source, error)
            self._api.refused(source, type(request).__name__.removesuffix("Request"), error.message)
        await abort(context, error)

    async def Heartbeat(self, request: node_pb2.HeartbeatRequest, context: Any) -> node_pb2.HeartbeatReply:
        return await self._serve(context, request, lambda member: self._api.heartbeat(member, request), nodes_only=True)

    async def Confirm(self, request: node_pb2.ConfirmRequest, context: Any) -> node_pb2.ConfirmReply:
        return await self._serve(context, request, lambda member: self._api.confirm(member, request), nodes_only=True)

    async def Vote(self, request: node_pb2.VoteRequest, context: Any) -> node_pb2.VoteReply:
        return await self._serve(context, request, lambda member: self._api.vote(member, request), nodes_only=True)

    async def TakeOver(self, request: node_pb2.TakeOverRequest, context: Any) -> node_pb2.TakeOverReply:
        return await self._serve(context, request, lambda member: self._api.take_over(member, request), nodes_only=True)

    async def Submit(self, request: node_pb2.SubmitRequest, context: Any) -> node_pb2.SubmitReply:
        return await self._serve(context, request, lambda member: self._api.submit_for(member, request))

    async def Report(self, request: node_pb2.MemberReport, context: Any) -> node_pb2.ReportReply:
        return await self._serve(context, request, lambda member: self._api.report(member, request))

    async def WatchView(self, request: node_pb2.WatchViewRequest, context: Any) -> AsyncIterator[node_pb2.ViewUpdate]:
        try:
            member = self._caller(context)
            self._check(member, request, nodes_only=False)
            async for update in self._api.watch_view(member, request):
                yield update
        except MeshError as error:
            await self._refuse(context, request, error)


class MeshServer:
    """Listens on this node's overlay addresses. `start` raises Failed when the port is taken."""

    def __init__(self, identity: Identity, api: MeshApi, state: Callable[[], State]) -> None:
        self._credentials = grpc.ssl_server_credentials(
            [(private_key_pem(identity.keys.certificate), certificate_pem(identity.certificate))],
            certificate_pem(identity.ca_certificate),
            require_client_auth=True,
        )
        self._servicer = _Servicer(api, state)
        self._server: grpc.aio.Server | None = None

    async def start(self, addresses: Sequence[IPv4Address | IPv6Address], port: int) -> None:
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        add_MeshNodeServicer_to_server(self._servicer, self._server)
        bind(self._server, addresses, port, self._credentials)
        await self._server.start()

    async def stop(self) -> None:
        """Call it after the streams of `MeshApi.watch_view` were ended."""
        if self._server is not None:
            await self._server.stop(0.2)
            self._server = None


def bind(
    server: grpc.aio.Server,
    addresses: Sequence[IPv4Address | IPv6Address],
    port: int,
    credentials: grpc.ServerCredentials,
) -> None:
    """Adds the addresses to the server. Raises Failed naming the one that can't be listened on."""
    for address in addresses:
        text = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
        try:
            bound = server.add_secure_port(text, credentials)
        except RuntimeError as error:
            bound = 0
            log.debug("binding %s: %s", text, error)
        if bound == 0:
            raise Failed(f"can't listen on TCP {text}", f"see who has it: ss -ltnp 'sport = :{port}'")
