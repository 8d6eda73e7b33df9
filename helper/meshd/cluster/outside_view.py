"""Asks a node for the present view outside of the tunnel: for a member whose nodes got new keys by a restore.

Only a node that this member knows is believed, with the certificate that its record in the answer has.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

import grpc.aio
from meshproto import join_pb2, state_pb2

from meshd.cluster.certificates import fingerprint, verify_member, view_signature
from meshd.cluster.identity import Identity
from meshd.cluster.join_connection import connect
from meshd.model.errors import MeshError, NotPermitted
from meshd.model.members import Member, Role
from meshd.model.position import Position
from meshd.model.state import State

log = logging.getLogger(__name__)

LIMIT = 5.0
"""Seconds for one address."""

Address = IPv4Address | IPv6Address


async def ask_for_view(
    identity: Identity, places: Sequence[tuple[Address, int]], nodes: Mapping[str, Member], present: Position
) -> State | None:
    """From the first place (address, TCP join port) that answers as one of the nodes that are known and has newer data
    than `present`; None when none does. This member is known there by its certificate's key."""
    for address, port in places:
        try:
            connection = await connect(address, port, fingerprint(identity.ca_certificate), LIMIT)
        except MeshError as error:
            log.debug("asking %s for the view: %s", address, error)
            continue
        try:
            challenge: join_pb2.ChallengeReply = await connection.stub.GetChallenge(
                join_pb2.ChallengeRequest(), timeout=LIMIT
            )
            member_id = identity.choices.member_id
            signature = view_signature(
                identity.keys.certificate, challenge.nonce, member_id, connection.server_certificate
            )
            reply: join_pb2.GetViewReply = await connection.stub.GetView(
                join_pb2.GetViewRequest(nonce=challenge.nonce, member_id=member_id, signature=signature), timeout=LIMIT
            )
            state = State.from_view(reply.view)
            answering = hashlib.sha256(connection.server_certificate).digest()
            check_answer(identity, state, connection.node_id, answering, nodes)
        except grpc.aio.AioRpcError as error:
            log.debug("asking %s for the view: %s", address, error.details())
            continue
        except MeshError as error:
            log.warning("asking %s for the view: %s", address, error)
            continue
        finally:
            await connection.close()
        if state.position > present:
            return state
    return None


def check_answer(
    identity: Identity, state: State, node_id: str, certificate_sha256: bytes, nodes: Mapping[str, Member]
) -> None:
    """Raises NotPermitted when whoever answered as that node, with that certificate, is not to be believed: the CA
    vouches for its certificate, but it may have been removed, or have been given another one since."""
    node, known = state.parsed.get(node_id), nodes.get(node_id)
    if state.settings.id != identity.choices.mesh_id:
        raise NotPermitted("it answered for another mesh")
    if node is None or known is None or node.role is not Role.NODE or known.role is not Role.NODE:
        raise NotPermitted(f"{node_id} is no node that this machine knows")
    verify_member(state.members[node_id], node, identity.ca_certificate, identity.choices.mesh_id)
    if node.certificate_sha256 != certificate_sha256 or node.serial < known.serial:
        raise NotPermitted(f"{known.name} answered with a certificate that is not its present one")


def renewed_nodes(identity: Identity, state: State, nodes: Mapping[str, Member]) -> list[state_pb2.Member]:
    """Of a view from outside: the nodes that are known here and have other keys there, as the CA signed since."""
    found = []
    for node_id, known in nodes.items():
        node = state.parsed.get(node_id)
        if node is None or node.role is not Role.NODE or node.serial <= known.serial or node.ipv4 != known.ipv4:
            continue
        if (node.public_key, node.certificate_sha256) == (known.public_key, known.certificate_sha256):
            continue
        try:
            verify_member(state.members[node_id], node, identity.ca_certificate, identity.choices.mesh_id)
        except NotPermitted as error:
            log.warning("the view from outside: %s", error)
            continue
        found.append(state.members[node_id])
    return found
