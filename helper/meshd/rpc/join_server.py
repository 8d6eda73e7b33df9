"""The join service: server TLS only, on the join port and on the overlay addresses. Anybody may call it, so every
message is checked and counted here before `JoinApi` sees it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
from meshproto import join_pb2
from meshproto.join_pb2_grpc import JoinServicer, add_JoinServicer_to_server

from meshd.cluster.admission import RateLimit, TooManyTries
from meshd.cluster.callers import source_address
from meshd.cluster.certificates import certificate_pem, private_key_pem
from meshd.cluster.identity import Identity
from meshd.model.changes.admission import TOO_MANY_REQUESTS
from meshd.model.errors import MeshError
from meshd.rpc.mesh_server import SERVER_OPTIONS, bind
from meshd.rpc.status_codes import abort

log = logging.getLogger(__name__)

REQUEST_LIMIT = 32 * 1024
"""Bytes in one message of a stranger: an applicant's keys, names and endpoints are under 2 kB."""

CROWD = 20
"""Machines that may redeem one invite from one temporary address at once, each as often as a stranger may."""

LOOKS = 4
"""How often a source may ask what gives nothing away, against how often it may try to join: so that nobody alone fills
the places of everybody's challenges, nor all of `CALLS_AT_ONCE` with calls that wait for a decision."""

CALLS_AT_ONCE = 256

FLOODS = frozenset({TooManyTries.code, TOO_MANY_REQUESTS})

Source = IPv4Address | IPv6Address
Reply = TypeVar("Reply")


class JoinApi(Protocol):
    """What a stranger may ask of this node."""

    def is_inside(self, source: Source) -> bool:
        """Whether that is an address of the mesh: whoever comes from there holds a key that opens the tunnel."""

    def flooded(self, error: MeshError) -> None:
        """A call was refused because there are too many."""

    async def authority(self) -> join_pb2.AuthorityReply: ...

    async def challenge(self) -> join_pb2.ChallengeReply: ...

    async def join_as_node(self, source: Source, request: join_pb2.JoinAsNodeRequest) -> join_pb2.Admission: ...

    async def redeem_invite(self, source: Source, request: join_pb2.RedeemInviteRequest) -> join_pb2.Admission: ...

    async def request_access(
        self, source: Source, request: join_pb2.RequestAccessRequest
    ) -> join_pb2.RequestAccessReply: ...

    async def await_access(self, source: Source, request: join_pb2.AwaitAccessRequest) -> join_pb2.AwaitAccessReply: ...

    async def get_view(self, source: Source, request: join_pb2.GetViewRequest) -> join_pb2.GetViewReply: ...


class _Servicer(JoinServicer):
    def __init__(self, api: JoinApi, now: Callable[[], float]) -> None:
        self._api = api
        # By whether it is a try to join, and whether it comes from inside the mesh.
        self._limits = {
            (tries, inside): RateLimit(now, factor=(1 if tries else LOOKS) * (CROWD if inside else 1))
            for tries in (True, False)
            for inside in (True, False)
        }

    async def _serve(self, context: Any, call: Callable[[Source], Awaitable[Reply]], tries: bool) -> Reply:
        try:
            source = source_address(context.peer())
            self._limits[tries, self._api.is_inside(source)].count(source)
            return await call(source)
        except MeshError as error:
            if error.code in FLOODS:
                self._api.flooded(error)
            else:
                log.info("refused %s to join: %s", context.peer(), error)
            await abort(context, error)
            raise

    async def GetAuthority(self, request: join_pb2.AuthorityRequest, context: Any) -> join_pb2.AuthorityReply:
        return await self._serve(context, lambda _: self._api.authority(), tries=False)

    async def GetChallenge(self, request: join_pb2.ChallengeRequest, context: Any) -> join_pb2.ChallengeReply:
        return await self._serve(context, lambda _: self._api.challenge(), tries=False)

    async def JoinAsNode(self, request: join_pb2.JoinAsNodeRequest, context: Any) -> join_pb2.Admission:
        return await self._serve(context, lambda source: self._api.join_as_node(source, request), tries=True)

    async def RedeemInvite(self, request: join_pb2.RedeemInviteRequest, context: Any) -> join_pb2.Admission:
        return await self._serve(context, lambda source: self._api.redeem_invite(source, request), tries=True)

    async def RequestAccess(self, request: join_pb2.RequestAccessRequest, context: Any) -> join_pb2.RequestAccessReply:
        return await self._serve(context, lambda source: self._api.request_access(source, request), tries=True)

    async def AwaitAccess(self, request: join_pb2.AwaitAccessRequest, context: Any) -> join_pb2.AwaitAccessReply:
        return await self._serve(context, lambda source: self._api.await_access(source, request), tries=False)

    async def GetView(self, request: join_pb2.GetViewRequest, context: Any) -> join_pb2.GetViewReply:
        return await self._serve(context, lambda source: self._api.get_view(source, request), tries=False)


class JoinServer:
    """One server for all addresses of one mesh's join service."""

    def __init__(self, identity: Identity, api: JoinApi, now: Callable[[], float] = time.monotonic) -> None:
        self._credentials = grpc.ssl_server_credentials(
            [(private_key_pem(identity.keys.certificate), certificate_pem(identity.certificate))]
        )
        self._servicer = _Servicer(api, now)
        self._server: grpc.aio.Server | None = None

    async def start(self, addresses: Sequence[Source], port: int) -> None:
        """Raises Failed when the port is taken."""
        options = (*SERVER_OPTIONS, ("grpc.max_receive_message_length", REQUEST_LIMIT))
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=CALLS_AT_ONCE)
        add_JoinServicer_to_server(self._servicer, self._server)
        bind(self._server, addresses, port, self._credentials)
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0.2)
            self._server = None
