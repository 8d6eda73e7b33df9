"""Joining, seen from the machine that joins: with a cluster key, by request, or with an invite through the tunnel.

Each way ends in an `Identity` and the first view; nothing is stored here.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc.aio
from meshproto import PROTOCOL_VERSION, base32, cluster_key, join_pb2, node_pb2, state_pb2

from meshd.cluster.certificates import await_signature, fingerprint, identity_of, signing_request
from meshd.cluster.identity import Choices, Identity, Keys
from meshd.cluster.join_connection import (
    RESOLVE_TIME,
    Address,
    JoinConnection,
    check_clock_difference,
    connect,
    resolve,
)
from meshd.cluster.request_keys import forget_request_keys, keep_request_keys
from meshd.model.errors import Conflict, MeshError, NotPermitted, Unavailable
from meshd.model.members import Endpoint, Role

LONGEST_PATIENCE = 4.0
"""Seconds: a session over a slow link has all its answers by then."""

LOST = ("unavailable", "timeout", "outcome-unknown")
"""What says that no answer came, or that nobody could decide. The request may have been carried out all the same: one
with the same id is answered as the first was."""

Progress = Callable[[str, str], Awaitable[None]]
"""Called with a stage of JoinProgress and a sentence for people."""


async def anything(connection: JoinConnection) -> None:
    """A check that finds nothing against any mesh."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the machine that joins brings along."""

    name: str
    interface: str
    listen_port: int
    join_port: int
    endpoints: tuple[str, ...]  # where it may be reached, best first
    given_endpoints: tuple[str, ...]  # of these, what a person gave
    behind_nat: bool
    keys: Keys
    person: str  # whose keyring has them, "" when files here will
    error_of: Callable[[grpc.aio.AioRpcError], MeshError]
    check: Callable[[JoinConnection], Awaitable[None]] = anything  # of the mesh, before it is asked; raises Conflict

    def applicant(self) -> node_pb2.Applicant:
        return node_pb2.Applicant(
            name=self.name,
            public_key=self.keys.wireguard.public.data,
            certificate_request=signing_request(self.keys.certificate, self.name or "member"),
            endpoints=self.endpoints,
            listen_port=self.listen_port,
            behind_nat=self.behind_nat,
            join_port=self.join_port,
            protocol_version=PROTOCOL_VERSION,
        )


@dataclass(frozen=True, slots=True)
class Joined:
    """A member that exists now, and what it may see."""

    identity: Identity
    view: state_pb2.View
    node_id: str  # the node that answered


def _joined(
    admission: join_pb2.Admission,
    connection: JoinConnection,
    wishes: Wishes,
    secret: bytes | None,
) -> Joined:
    member_id, role, mesh_id = identity_of(admission.certificate)
    if member_id != admission.member_id or mesh_id != connection.mesh_id:
        raise NotPermitted("the node answered with a certificate of somebody else")
    person = wishes.person if role is Role.PEER else ""
    choices = Choices(
        mesh=admission.view.settings.name,
        mesh_id=mesh_id,
        member_id=member_id,
        role=role,
        interface=wishes.interface,
        listen_port=wishes.listen_port,
        join_port=wishes.join_port,
        endpoints=wishes.given_endpoints,
        always_on=not person,
        person=person,
        keyring_entry=str(wishes.keys.wireguard.public) if person else "",
    )
    identity = Identity(choices, wishes.keys, admission.certificate, connection.ca_certificate, secret)
    return Joined(identity, admission.view, admission.node_id)


@asynccontextmanager
async def _reach(
    hosts: Sequence[Endpoint], expected: str | None, progress: Progress, deadline: float
) -> AsyncIterator[JoinConnection]:
    """A verified connection to the first host that answers, tried again with back-off until the deadline."""
    pause = 0.3
    last: MeshError = Unavailable("no host was given", "name a node: meshctl join - HOST")
    while True:
        for host in hosts:
            await progress("resolve", f"looking for {host}")
            try:
                limit = min(max(deadline - time.monotonic(), 0.5), RESOLVE_TIME)
                addresses: list[Address] = await resolve(host.host, host.port, limit)
            except MeshError as error:
                last = error
                continue
            for address in addresses:
                try:
                    limit = min(max(deadline - time.monotonic(), 0.5), 5.0)
                    connection = await connect(address, host.port, expected, limit)
                except Unavailable as error:
                    last = error
                    continue
                await progress("verify", f"{host} is a node of {connection.mesh_name}")
                try:
                    yield connection
                finally:
                    await connection.close()
                return
        if time.monotonic() + pause > deadline:
            raise last
        await asyncio.sleep(pause * random.uniform(0.7, 1.3))
        pause = min(pause * 2, 3.0)


async def join_as_node(
    key: cluster_key.ClusterKey, hosts: Sequence[Endpoint], wishes: Wishes, progress: Progress, timeout: float
) -> Joined:
    """Joins with the cluster key through any node, and through the next when one is lost meanwhile. Raises what the
    node refused with, by its code."""
    deadline = time.monotonic() + timeout
    request_id = str(uuid.uuid4())
    expected = base32.encode(key.fingerprint)
    applicant = wishes.applicant()
    pause = 0.3
    while True:
        async with _reach(hosts, expected, progress, deadline) as connection:
            await wishes.check(connection)
            try:
                admission = await _prove(key, connection, applicant, request_id, progress, deadline)
                return _joined(admission, connection, wishes, key.secret)
            except grpc.aio.AioRpcError as error:
                refusal = wishes.error_of(error)
                if refusal.code not in LOST or time.monotonic() + pause > deadline:
                    raise refusal from error
        hosts = [*hosts[1:], *hosts[:1]]
        await asyncio.sleep(pause * random.uniform(0.7, 1.3))
        pause = min(pause * 2, 3.0)


async def _prove(
    key: cluster_key.ClusterKey,
    connection: JoinConnection,
    applicant: node_pb2.Applicant,
    request_id: str,
    progress: Progress,
    deadline: float,
) -> join_pb2.Admission:
    """Proves the key to one node and asks it to be let in. Raises AioRpcError."""
    challenge: join_pb2.ChallengeReply = await connection.stub.GetChallenge(join_pb2.ChallengeRequest(), timeout=5)
    check_clock_difference(challenge.now_ms, str(connection.address))
    proof = cluster_key.proof(
        key.secret,
        challenge.nonce,
        connection.ca_certificate,
        connection.server_certificate,
        applicant.public_key,
        applicant.certificate_request,
    )
    await progress("redeem", f"asking {connection.mesh_name} to let this machine in")
    admission: join_pb2.Admission = await connection.stub.JoinAsNode(
        join_pb2.JoinAsNodeRequest(nonce=challenge.nonce, proof=proof, applicant=applicant, request_id=request_id),
        timeout=max(deadline - time.monotonic(), 1),
    )
    return admission


async def redeem(
    invite_id: str,
    token: bytes,
    expected: str,
    services: Sequence[Endpoint],
    wishes: Wishes,
    restart_session: Callable[[], Awaitable[None]],
    progress: Progress,
    timeout: float,
    patience: float,
) -> Joined:
    """Redeems an invite through the tunnel that its temporary key opened. `services` are the nodes' overlay addresses.

    Two machines that use one key at once take the tunnel from each other; so a try that stalls for `patience` seconds,
    and longer each time, restarts the session after a random pause. The request id stays the same, so that a repeated
    try is answered with the first admission.
    """
    deadline = time.monotonic() + timeout
    applicant = wishes.applicant()
    request = join_pb2.RedeemInviteRequest(
        invite_id=invite_id, token=token, applicant=applicant, request_id=str(uuid.uuid4())
    )
    while True:
        for service in services:
            address = service.address
            if address is None:
                continue
            try:
                connection = await connect(address, service.port, expected, min(patience, deadline - time.monotonic()))
            except Unavailable:
                continue
            try:
                await progress("verify", f"{address} is a node of {connection.mesh_name}")
                await wishes.check(connection)
                await progress("redeem", f"redeeming the invite at {connection.mesh_name}")
                admission = await connection.stub.RedeemInvite(
                    request, timeout=max(min(patience + 1.0, deadline - time.monotonic()), 0.5)
                )
                secret = admission.cluster_secret or None  # an invite may be for a node
                return _joined(admission, connection, wishes, secret)
            except grpc.aio.AioRpcError as error:
                refusal = wishes.error_of(error)
                if refusal.code not in LOST:
                    raise refusal from error
            finally:
                await connection.close()
        if time.monotonic() + 0.5 > deadline:
            raise Unavailable(
                "no answer: the invite was already used or revoked, or the node is unreachable",
                "check that UDP to the node is open, or ask for a new invite",
                "no-answer",
            )
        patience = max(patience, min(patience * 1.5, LONGEST_PATIENCE))
        await asyncio.sleep(random.uniform(0.05, 0.6))
        await restart_session()


async def request_access(
    hosts: Sequence[Endpoint],
    expected: str | None,
    wishes: Wishes,
    progress: Progress,
    pending: Callable[[str, str], Awaitable[None]],
    state_dir: Path,
    timeout: float,
) -> Joined:
    """Asks to be let in as a peer and waits for a person to decide. `pending` gets the request's id and the CA's
    fingerprint, for the person here to compare with the one shown there. Asking again finds the same request: its keys
    stay in `state_dir` until it is decided, unless a person's keyring has them."""
    deadline = time.monotonic() + timeout
    async with _reach(hosts, expected, progress, deadline) as connection:
        await wishes.check(connection)
        found = fingerprint(connection.ca_certificate)
        if not wishes.person:
            wishes = replace(wishes, keys=await asyncio.to_thread(keep_request_keys, state_dir, found))
        try:
            reply: join_pb2.RequestAccessReply = await connection.stub.RequestAccess(
                join_pb2.RequestAccessRequest(applicant=wishes.applicant()), timeout=10
            )
            await pending(reply.id, found)
            signature = await_signature(wishes.keys.certificate, reply.id)
            while time.monotonic() < deadline:
                wait = min(10.0, deadline - time.monotonic())
                answer: join_pb2.AwaitAccessReply = await connection.stub.AwaitAccess(
                    join_pb2.AwaitAccessRequest(id=reply.id, signature=signature, wait_ms=int(wait * 1000)),
                    timeout=wait + 5,
                )
                if answer.refused:
                    await asyncio.to_thread(forget_request_keys, state_dir, found)
                    raise Conflict("the request was refused", "ask the people who run the mesh", "refused")
                if not answer.pending:
                    return _joined(answer.admission, connection, wishes, None)
        except grpc.aio.AioRpcError as error:
            raise wishes.error_of(error) from error
        raise Unavailable(
            f"request {reply.id} was not decided in time; it stays open",
            f"on a node: meshctl peers authorize {reply.id}; then run the same command here again",
            "pending",
        )
