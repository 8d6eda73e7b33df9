"""The join service, where anybody may call: rates, sizes, damaged messages, and no need of a certificate."""

from __future__ import annotations

import socket
import uuid
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from typing import Any

import grpc
import grpc.aio
import pytest
from meshd.cluster.admission import TRIES
from meshd.cluster.authority import CertificateAuthority
from meshd.cluster.certificates import certificate_pem, new_private_key, signing_request
from meshd.cluster.identity import Choices, Identity, Keys
from meshd.model.errors import Failed, MeshError, NotPermitted
from meshd.model.members import Role
from meshd.rpc.join_server import CROWD, LOOKS, REQUEST_LIMIT, JoinServer
from meshproto import join_pb2
from meshproto.keys import PrivateKey

MESH_ID = str(uuid.UUID(int=9))
LOOPBACK = IPv4Address("127.0.0.1")
METHODS = [one.name for one in join_pb2.DESCRIPTOR.services_by_name["Join"].methods]
COUNTED = {"JoinAsNode", "RedeemInvite", "RequestAccess"}


class Api:
    def __init__(self) -> None:
        self.called: list[tuple[str, Any]] = []
        self.inside = False
        self.floods: list[str] = []

    def flooded(self, error: MeshError) -> None:
        self.floods.append(error.message)

    def is_inside(self, source: Any) -> bool:
        return self.inside

    async def authority(self) -> join_pb2.AuthorityReply:
        self.called.append(("authority", None))
        return join_pb2.AuthorityReply()

    async def challenge(self) -> join_pb2.ChallengeReply:
        self.called.append(("challenge", None))
        return join_pb2.ChallengeReply(nonce=b"n")

    def __getattr__(self, name: str) -> Any:
        reply = {
            "join_as_node": join_pb2.Admission,
            "redeem_invite": join_pb2.Admission,
            "request_access": join_pb2.RequestAccessReply,
            "await_access": join_pb2.AwaitAccessReply,
            "get_view": join_pb2.GetViewReply,
        }[name]

        async def call(source: Any, request: Any) -> Any:
            self.called.append((name, source))
            if getattr(request, "invite_id", "") == "revoked":
                raise NotPermitted("the invite was revoked", "ask for another", "invite-revoked")
            return reply()

        return call


class Served:
    def __init__(self) -> None:
        self.authority = CertificateAuthority.create(MESH_ID, "home")
        self.api = Api()
        key, self.id = new_private_key(), str(uuid.uuid4())
        certificate = self.authority.certify(signing_request(key, "gw-berlin"), self.id, Role.NODE)
        choices = Choices("home", MESH_ID, self.id, Role.NODE, "home", 10100)
        identity = Identity(choices, Keys(PrivateKey(bytes(32)), key), certificate, self.authority.certificate)
        self.identity = identity
        self.server = JoinServer(identity, self.api, now=lambda: 0.0)  # no try comes back
        with socket.socket() as found:
            found.bind((str(LOOPBACK), 0))
            self.port = found.getsockname()[1]

    def channel(self) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(certificate_pem(self.authority.certificate))
        options = (("grpc.ssl_target_name_override", f"{self.id}.node.{MESH_ID}"),)
        return grpc.aio.secure_channel(f"ipv4:127.0.0.1:{self.port}", credentials, options=options)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    await served.server.start([LOOPBACK], served.port)
    yield served
    await served.server.stop()


async def outcome(channel: grpc.aio.Channel, method: str, request: bytes = b"") -> tuple[grpc.StatusCode, str, str]:
    """(status, message, our code)"""
    try:
        await channel.unary_unary(f"/meshproto.Join/{method}")(request, timeout=10)
    except grpc.aio.AioRpcError as error:
        metadata = dict(error.trailing_metadata() or ())
        return error.code(), error.details() or "", str(metadata.get("mesh-code", ""))
    return grpc.StatusCode.OK, "", ""


async def test_a_stranger_may_call_everything_and_is_known_by_address(served: Served) -> None:
    async with served.channel() as channel:
        found = [await outcome(channel, method) for method in METHODS]
    assert {code for code, _, _ in found} == {grpc.StatusCode.OK}
    assert len(served.api.called) == len(METHODS)
    assert {source for _, source in served.api.called} == {None, LOOPBACK}


@pytest.mark.parametrize("method", METHODS)
async def test_tries_are_counted(served: Served, method: str) -> None:
    async with served.channel() as channel:
        allowed = TRIES * (1 if method in COUNTED else LOOKS)
        found = [await outcome(channel, method) for _ in range(allowed + 5)]
    refused = [one for one in found if one[0] is not grpc.StatusCode.OK]
    assert len(refused) == 5
    assert {(code, ours) for code, _, ours in refused} <= {(grpc.StatusCode.FAILED_PRECONDITION, "too-many-tries")}
    assert len(served.api.called) == len(found) - len(refused)
    assert served.api.floods == ["too many attempts to join from 127.0.0.1"] * 5


async def test_whoever_comes_through_the_tunnel_may_try_as_often_as_a_crowd(served: Served) -> None:
    served.api.inside = True
    async with served.channel() as channel:
        found = [await outcome(channel, "RedeemInvite") for _ in range(TRIES * CROWD + 5)]
        served.api.inside = False
        outside = await outcome(channel, "RedeemInvite")
    assert len([one for one in found if one[2] == "too-many-tries"]) == 5
    assert outside[0] is grpc.StatusCode.OK, "the two are counted apart"


async def test_tries_of_one_kind_count_for_the_others(served: Served) -> None:
    async with served.channel() as channel:
        for _ in range(TRIES):
            await outcome(channel, "RedeemInvite")
        assert (await outcome(channel, "JoinAsNode"))[2] == "too-many-tries"


async def test_a_refusal_arrives_whole(served: Served) -> None:
    request = join_pb2.RedeemInviteRequest(invite_id="revoked").SerializeToString()
    async with served.channel() as channel:
        assert await outcome(channel, "RedeemInvite", request) == (
            grpc.StatusCode.FAILED_PRECONDITION, "the invite was revoked", "invite-revoked",
        )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "request_bytes", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05", bytes(REQUEST_LIMIT + 1)],
    ids=["field 31", "long length", "cut", "too long"],
)  # fmt: skip
async def test_damaged_and_long_messages_are_refused(served: Served, method: str, request_bytes: bytes) -> None:
    async with served.channel() as channel:
        code, _, _ = await outcome(channel, method, request_bytes)
        assert code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNKNOWN)
        assert served.api.called == []
        assert (await outcome(channel, "GetAuthority"))[0] is grpc.StatusCode.OK


async def test_unknown_methods_are_none(served: Served) -> None:
    async with served.channel() as channel:
        for method in ("Nothing", "joinasnode", "/JoinAsNode"):
            assert (await outcome(channel, method))[0] is grpc.StatusCode.UNIMPLEMENTED
    async with served.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/meshproto.MeshNode/Submit")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert served.api.called == []


async def test_a_taken_port_is_named(served: Served) -> None:
    other = JoinServer(served.identity, served.api)
    with pytest.raises(Failed, match=str(served.port)):
        await other.start([LOOPBACK], served.port)
    await other.stop()
