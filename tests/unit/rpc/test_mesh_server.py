"""The in-mesh server with every kind of certificate that is none of a present member."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from meshd.assembly.node_duties import NodeDuties
from meshd.cluster.authority import CertificateAuthority
from meshd.cluster.certificates import certificate_pem, new_private_key, private_key_pem, signing_request
from meshd.cluster.channels import VERSION_KEY, MemberChannels
from meshd.cluster.identity import Choices, Identity, Keys
from meshd.cluster.replica import Replica
from meshd.model.members import Member, Role
from meshd.model.position import Position
from meshd.model.state import State
from meshd.rpc.mesh_server import REQUEST_LIMIT, MeshServer, _Servicer
from meshd.store.copy_format import CopyFormat
from meshproto import node_pb2, state_pb2
from meshproto.keys import PrivateKey

MESH_ID = str(uuid.UUID(int=9))
LOOPBACK = IPv4Address("127.0.0.1")
METHODS = node_pb2.DESCRIPTOR.services_by_name["MeshNode"].methods
FOR_NODES = {"Heartbeat", "Confirm", "Vote", "TakeOver"}


@dataclass
class Holder:
    """Somebody with a key and a certificate."""

    id: str
    name: str
    role: Role
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_private_key)
    certificate: bytes = b""


class Api:
    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.called: list[tuple[str, str]] = []
        self.refusals: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        reply = {
            "heartbeat": node_pb2.HeartbeatReply,
            "confirm": node_pb2.ConfirmReply,
            "vote": node_pb2.VoteReply,
            "take_over": node_pb2.TakeOverReply,
            "submit_for": node_pb2.SubmitReply,
            "report": node_pb2.ReportReply,
        }[name]

        async def call(member: Member, request: Any) -> Any:
            self.called.append((name, member.name))
            return reply()

        return call

    def spoke(self, member: Member, version: int) -> None:
        self.versions[member.name] = version

    def refused(self, source: str, what: str, reason: str) -> None:
        assert source.startswith("ipv4:127.0.0.1:")
        self.refusals.append((what, reason))

    async def watch_view(self, member: Member, request: Any) -> AsyncIterator[node_pb2.ViewUpdate]:
        self.called.append(("watch_view", member.name))
        yield node_pb2.ViewUpdate()


class Served:
    """A server on loopback, and the mesh that it believes in: `admit` and `remove` change that."""

    def __init__(self) -> None:
        self.authority = CertificateAuthority.create(MESH_ID, "home")
        self.api = Api()
        self.state = State(settings=state_pb2.MeshSettings(id=MESH_ID))
        self.members: dict[str, state_pb2.Member] = {}
        self.server_holder = self.holder("gw-berlin", Role.NODE)
        self.admit(self.server_holder, "127.0.0.77")
        with socket.socket() as found:
            found.bind((str(LOOPBACK), 0))
            self.port = found.getsockname()[1]
        self.server = MeshServer(self.identity(self.server_holder), self.api, lambda: self.state)

    def holder(self, name: str, role: Role) -> Holder:
        holder = Holder(str(uuid.uuid4()), name, role)
        holder.certificate = self.authority.certify(signing_request(holder.key, name), holder.id, role)
        return holder

    def identity(self, holder: Holder) -> Identity:
        choices = Choices("home", MESH_ID, holder.id, holder.role, "home", 10100)
        return Identity(
            choices, Keys(PrivateKey(bytes(32)), holder.key), holder.certificate, self.authority.certificate
        )

    def admit(self, holder: Holder, ipv4: str = str(LOOPBACK), *, enabled: bool = True) -> Member:
        statement = state_pb2.MemberStatement(
            mesh_id=MESH_ID,
            id=holder.id,
            name=holder.name,
            role=holder.role.message,
            public_key=hashlib.sha256(holder.id.encode()).digest(),
            ipv4=ipv4,
            ipv6=f"fd00::{len(self.members) + 1:x}",
            certificate_sha256=hashlib.sha256(holder.certificate).digest(),
        )
        self.members[holder.id] = state_pb2.Member(id=holder.id, enabled=enabled, record=self.authority.sign(statement))
        self._renew()
        return self.state.parsed[holder.id]

    def remove(self, holder: Holder) -> None:
        del self.members[holder.id]
        self._renew()

    def _renew(self) -> None:
        position = Position(1, self.state.position.revision + 1)
        view = state_pb2.View(position=position.message, settings=self.state.settings, members=self.members.values())
        self.state = State.from_view(view)

    def channel(self, key: Any, chain: bytes | None) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(
            certificate_pem(self.authority.certificate), private_key_pem(key) if chain else None, chain
        )
        name = f"{self.server_holder.id}.node.{MESH_ID}"
        options = (("grpc.ssl_target_name_override", name), ("grpc.use_local_subchannel_pool", 1))
        return grpc.aio.secure_channel(f"ipv4:127.0.0.1:{self.port}", credentials, options=options)

    def channel_of(self, holder: Holder) -> grpc.aio.Channel:
        return self.channel(holder.key, certificate_pem(holder.certificate))


async def outcome(channel: grpc.aio.Channel, method: str, version: str | None = "1") -> tuple[grpc.StatusCode, str]:
    metadata = ((VERSION_KEY, version),) if version is not None else ()
    try:
        call = channel.unary_stream(f"/meshproto.MeshNode/{method}")(b"", timeout=10, metadata=metadata)
        async for _ in call:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


async def outcomes(channel: grpc.aio.Channel) -> dict[str, tuple[grpc.StatusCode, str]]:
    """Of every method there is."""
    async with channel:
        return {one.name: await outcome(channel, one.name) for one in METHODS}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    await served.server.start([LOOPBACK], served.port)
    yield served
    await served.server.stop()


async def test_a_node_may_call_everything(served: Served) -> None:
    node = served.holder("gw-paris", Role.NODE)
    served.admit(node)
    found = await outcomes(served.channel_of(node))
    assert {code for code, _ in found.values()} == {grpc.StatusCode.OK}
    assert len(served.api.called) == len(METHODS)
    assert {name for _, name in served.api.called} == {"gw-paris"}


async def test_a_peer_may_not_call_what_nodes_say_to_each_other(served: Served) -> None:
    ada = served.holder("laptop-ada", Role.PEER)
    served.admit(ada)
    found = await outcomes(served.channel_of(ada))
    assert {name for name, (code, _) in found.items() if code is grpc.StatusCode.PERMISSION_DENIED} == FOR_NODES
    assert found["Confirm"][1] == "laptop-ada is not a node"
    assert {name for name, (code, _) in found.items() if code is grpc.StatusCode.OK} == set(found) - FOR_NODES
    assert {name for name, _ in served.api.called}.isdisjoint({"heartbeat", "confirm"})
    assert sorted(served.api.refusals) == [(name, "laptop-ada is not a node") for name in sorted(FOR_NODES)]


@pytest.mark.parametrize("role", [Role.NODE, Role.PEER])
async def test_a_good_certificate_of_nobody(served: Served, role: Role) -> None:
    """Signed by the mesh CA, but in no list: a machine whose joining was never committed."""
    found = await outcomes(served.channel_of(served.holder("gw-oslo", role)))
    assert set(found.values()) == {(grpc.StatusCode.PERMISSION_DENIED, "the certificate is no member's")}
    assert served.api.called == []
    assert {reason for _, reason in served.api.refusals} == {"the certificate is no member's"}


@pytest.mark.parametrize(
    ("said", "heard"), [("2", "2"), ("0", "unknown"), (None, "unknown"), ("x", "unknown"), ("9" * 30, "unknown")]
)
async def test_another_version_is_refused_with_both_named(served: Served, said: str | None, heard: str) -> None:
    ada = served.holder("laptop-ada", Role.PEER)
    served.admit(ada)
    async with served.channel_of(ada) as channel:
        for method in ("WatchView", "Submit"):
            code, details = await outcome(channel, method, said)
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert details == f"laptop-ada speaks protocol version {heard}, this node 1"
        assert served.api.versions == {"laptop-ada": int(said) if heard == "2" else 0}
        assert (await outcome(channel, "Report"))[0] is grpc.StatusCode.OK
    assert served.api.versions == {"laptop-ada": 1}
    assert served.api.called == [("report", "laptop-ada")]


async def test_a_removed_member_is_out_at_once_also_on_an_open_connection(served: Served) -> None:
    node = served.holder("gw-paris", Role.NODE)
    served.admit(node)
    channel = served.channel_of(node)
    assert (await outcome(channel, "Heartbeat"))[0] is grpc.StatusCode.OK
    served.remove(node)
    called = len(served.api.called)
    found = await outcomes(channel)
    assert set(found.values()) == {(grpc.StatusCode.PERMISSION_DENIED, "the certificate is no member's")}
    assert len(served.api.called) == called


async def test_a_disabled_member_is_told(served: Served) -> None:
    ada = served.holder("laptop-ada", Role.PEER)
    served.admit(ada, enabled=False)
    found = await outcomes(served.channel_of(ada))
    assert set(found.values()) == {(grpc.StatusCode.PERMISSION_DENIED, "laptop-ada is disabled")}


async def test_a_certificate_that_was_replaced(served: Served) -> None:
    node = served.holder("gw-paris", Role.NODE)
    before = served.channel_of(node)
    node.certificate = served.authority.certify(signing_request(node.key, node.name), node.id, node.role)
    served.admit(node)
    assert (await outcomes(before))["Heartbeat"][0] is grpc.StatusCode.PERMISSION_DENIED
    assert (await outcomes(served.channel_of(node)))["Heartbeat"][0] is grpc.StatusCode.OK


async def test_a_certificate_used_from_another_members_address(served: Served) -> None:
    node = served.holder("gw-paris", Role.NODE)
    served.admit(node, "127.0.0.42")
    found = await outcomes(served.channel_of(node))
    message = "the certificate of gw-paris is used from another member's address"
    assert set(found.values()) == {(grpc.StatusCode.PERMISSION_DENIED, message)}
    assert {reason for _, reason in served.api.refusals} == {message}
    assert len(served.api.refusals) == len(METHODS)
    assert served.api.called == []


def made_by_hand(
    served: Served, signer: Any, issuer: x509.Name, node: Holder, begins: timedelta, ends: timedelta
) -> bytes:
    """A member's certificate, as PEM, with what our CA would never put in one."""
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node.id)]))
        .issuer_name(issuer)
        .public_key(node.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"{node.id}.node.{MESH_ID}")]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    node.certificate = certificate.public_bytes(Encoding.DER)
    served.admit(node)  # even a list that has it does not help: TLS refuses it before
    return certificate.public_bytes(Encoding.PEM)


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    "kind", ["in time", "expired", "not yet valid", "self-signed", "another CA of that name", "signed by a member"]
)
async def test_tls_takes_only_what_the_mesh_ca_signed_and_only_in_time(served: Served, kind: str) -> None:
    ca = x509.load_der_x509_certificate(served.authority.certificate)
    node = Holder(str(uuid.uuid4()), "gw-paris", Role.NODE)
    member = served.holder("gw-oslo", Role.NODE)
    signer: Any = served.authority._key
    issuer, chain = ca.subject, b""
    begins, ends = -DAY, DAY
    if kind == "expired":
        begins, ends = -2 * DAY, -DAY / 24
    elif kind == "not yet valid":
        begins = DAY / 24
    elif kind == "self-signed":
        signer, issuer = node.key, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node.id)])
    elif kind == "another CA of that name":
        signer = CertificateAuthority.create(MESH_ID, "home")._key
    elif kind == "signed by a member":
        signer, issuer = member.key, x509.load_der_x509_certificate(member.certificate).subject
        chain = certificate_pem(member.certificate)
    pem = made_by_hand(served, signer, issuer, node, begins, ends)
    found = await outcomes(served.channel(node.key, pem + chain))
    good = kind == "in time"
    assert {code for code, _ in found.values()} == {grpc.StatusCode.OK if good else grpc.StatusCode.UNAVAILABLE}
    assert bool(served.api.called) == good


async def test_nobody_comes_without_a_certificate(served: Served) -> None:
    found = await outcomes(served.channel(None, None))
    assert {code for code, _ in found.values()} == {grpc.StatusCode.UNAVAILABLE}
    found = await outcomes(grpc.aio.insecure_channel(f"ipv4:127.0.0.1:{served.port}"))
    assert {code for code, _ in found.values()} == {grpc.StatusCode.UNAVAILABLE}
    assert served.api.called == []


async def test_unknown_methods_are_none(served: Served) -> None:
    node = served.holder("gw-paris", Role.NODE)
    served.admit(node)
    async with served.channel_of(node) as channel:
        for method in ("Nothing", "heartbeat", "/Heartbeat"):
            assert (await outcome(channel, method))[0] is grpc.StatusCode.UNIMPLEMENTED
    assert served.api.called == []


async def test_a_member_is_not_taken_for_another(served: Served) -> None:
    """Who answers at a member's address must have that member's certificate."""
    ada = served.holder("laptop-ada", Role.PEER)
    served.admit(ada)
    channels = MemberChannels(served.identity(ada), served.port, LOOPBACK)
    other = served.holder("gw-oslo", Role.NODE)
    right = served.state.parsed[served.server_holder.id]
    wrong = served.admit(other, str(LOOPBACK))
    try:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channels.stub(wrong).Report(node_pb2.MemberReport(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert served.api.called == []
        here = served.admit(served.server_holder, str(LOOPBACK))
        assert (right.id, right.ipv4) != (here.id, here.ipv4)
        await channels.stub(here).Report(node_pb2.MemberReport(), timeout=10)
        assert served.api.called == [("report", "laptop-ada")]
    finally:
        await channels.close()


@pytest.mark.parametrize("role", [Role.NODE, Role.PEER])
async def test_a_message_far_larger_than_any_is_refused(served: Served, role: Role) -> None:
    """Just over what a message may have it is told who sent it; gRPC ends what is far more, and serves others on."""
    member = served.holder("gw-paris", role)
    served.admit(member)
    async with served.channel_of(member) as channel:
        submit = channel.unary_unary("/meshproto.MeshNode/Submit")
        metadata = ((VERSION_KEY, "1"),)
        for size, code in ((REQUEST_LIMIT, "PERMISSION_DENIED"), (17 << 20, "RESOURCE_EXHAUSTED")):
            change = node_pb2.Change(actor="a" * size)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await submit(node_pb2.SubmitRequest(change=change).SerializeToString(), timeout=20, metadata=metadata)
            assert caught.value.code().name == code
        assert served.api.called == []
        ((what, reason),) = served.api.refusals
        assert what == "Submit"
        assert "bytes, more than any message has" in reason
        await submit(b"", timeout=10, metadata=metadata)
    assert served.api.called == [("submit_for", "gw-paris")]


async def test_what_was_overheard_and_is_sent_again_is_no_call(served: Served) -> None:
    """Every byte of a node's connection, once more: TLS makes another key for each connection."""
    node = served.holder("gw-paris", Role.NODE)
    served.admit(node)
    overheard = bytearray()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: bytearray | None) -> None:
        while data := await reader.read(65536):
            if keep is not None:
                keep += data
            writer.write(data)
            await writer.drain()
        writer.close()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", served.port)
        await asyncio.gather(carry(reader, forth, overheard), carry(back, writer, None))

    between = await asyncio.start_server(listen, "127.0.0.1", 0)
    right, served.port = served.port, between.sockets[0].getsockname()[1]
    channel = served.channel_of(node)
    served.port = right
    async with channel:
        assert (await outcome(channel, "Heartbeat"))[0] is grpc.StatusCode.OK
    between.close()
    assert served.api.called == [("heartbeat", "gw-paris")]
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(overheard)
    await writer.drain()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(5):
            while await reader.read(65536):
                pass
    writer.close()
    assert served.api.called == [("heartbeat", "gw-paris")]


class Duties(NodeDuties):
    """The part of it that takes heartbeats: no Redis, no election, no mesh."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.heard_from: list[str] = []

        async def received(sender: str, message: Any) -> Any:
            self.heard_from.append(sender)

        self._replica = Replica(SimpleNamespace(), Position, list, lambda request: None, SimpleNamespace(), CopyFormat)  # type: ignore[arg-type]
        self._elector = SimpleNamespace(received=received)  # type: ignore[assignment]

    def spoke(self, member: Member, version: int) -> None:
        """Nobody asks here."""

    def refused(self, source: str, what: str, reason: str) -> None:
        self.told.append((what, reason))


async def test_a_forged_heartbeat(served: Served) -> None:
    """Of a node with a good certificate: one that speaks for another, and two that name a redis-server not its own."""
    await served.server.stop()
    duties = Duties()
    served.server = MeshServer(served.identity(served.server_holder), duties, lambda: served.state)
    await served.server.start([LOOPBACK], served.port)
    paris = served.holder("gw-paris", Role.NODE)
    served.admit(paris)
    metadata = ((VERSION_KEY, "1"),)
    forged = {
        f"{paris.id} speaks for {served.server_holder.id}": {"primary_id": served.server_holder.id},
        "gw-paris names a redis that is not its own": {"primary_id": paris.id, "redis_host": "192.0.2.66"},
        "gw-paris names a redis that is not its own ": {"primary_id": paris.id, "redis_host": "evil.example"},
    }
    async with served.channel_of(paris) as channel:
        beat = channel.unary_unary("/meshproto.MeshNode/Heartbeat")
        for reason, fields in forged.items():
            request = node_pb2.HeartbeatRequest(epoch=7, redis_user="repl-7", redis_password="x", **fields)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await beat(request.SerializeToString(), timeout=10, metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert caught.value.details() == reason.strip()
            assert duties.told[-1] == ("Heartbeat", reason.strip())
        assert duties.heard_from == []
        own = node_pb2.HeartbeatRequest(epoch=7, primary_id=paris.id, redis_host=str(LOOPBACK), redis_user="repl-7")
        with pytest.raises(grpc.aio.AioRpcError):  # nothing here answers it
            await beat(own.SerializeToString(), timeout=10, metadata=metadata)
    assert duties.heard_from == [paris.id]
    assert len(duties.told) == 3


async def test_a_caller_whose_connection_has_gone_is_not_refused() -> None:
    """On a busy machine it may be gone before it is looked at: then it has no address. That is no attack."""
    api = Api()
    context = SimpleNamespace(peer=lambda: "", auth_context=dict, invocation_metadata=tuple)
    with pytest.raises(asyncio.CancelledError):
        await _Servicer(api, State).Vote(node_pb2.VoteRequest(), context)  # type: ignore[arg-type]
    assert api.refusals == []
