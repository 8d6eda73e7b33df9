"""Asks a node for the present view outside of the tunnel: for a member whose nodes got new keys by a restore."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import grpc.aio
from meshproto import join_pb2, state_pb2

from meshd.cluster.certificates import fingerprint, view_signature
from meshd.cluster.identity import Identity
from meshd.cluster.join_connection import connect
from meshd.model.errors import MeshError

log = logging.getLogger(__name__)

LIMIT = 5.0
"""Seconds for one address."""

Address = IPv4Address | IPv6Address


async def ask_for_view(identity: Identity, places: Sequence[tuple[Address, int]]) -> state_pb2.View | None:
    """From the first place (address, TCP join port) that answers as a node of this mesh; None when none does.

    The node is known by the mesh CA, and this member by its certificate's key.
    """
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
        except grpc.aio.AioRpcError as error:
            log.debug("asking %s for the view: %s", address, error.details())
            continue
        finally:
            await connection.close()
        return reply.view
    return None
