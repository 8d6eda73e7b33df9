"""Invites made on this machine, and shown once more while they are open."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

from meshproto import local_pb2, node_pb2, state_pb2
from meshproto.invite import MOST_FURTHER_KEYS, Invite, InviteNode, redeem_token, temporary_key
from meshproto.keys import PrivateKey

from meshd import defaults
from meshd.assembly.invite_keys import forget_key, keep_key, read_key
from meshd.assembly.mesh import Mesh
from meshd.assembly.status import invite_status
from meshd.model.changes.invites import DEFAULT_LIFETIME_MS
from meshd.model.errors import Conflict, MeshError, NotFound, OutcomeUnknown
from meshd.model.members import Member, Role

NODES_IN_INVITE = 5
"""Nodes that an invite names: enough to find one that is up, few enough for a QR code."""

Submit = Callable[[node_pb2.CreateInvite], Awaitable[node_pb2.ChangeResult]]
"""Makes the change. Raises MeshError when it was not made, or nobody knows."""

MADE = "invite-made"
"""Code of the errors of an invite that is there, but can't be shown yet."""


async def make_invite(
    mesh: Mesh, request: local_pb2.CreateInviteRequest, submit: Submit
) -> local_pb2.CreateInviteReply:
    """The same request again gives the first invite again, where its secret is. Raises MeshError."""
    key = PrivateKey.from_random(os.urandom(32))
    invite_id = os.urandom(4).hex()
    change = node_pb2.CreateInvite(
        id=invite_id,
        member=request.member,
        role=state_pb2.ROLE_NODE if request.node else state_pb2.ROLE_PEER,
        uses=request.uses,
        lifetime_ms=request.lifetime_ms or DEFAULT_LIFETIME_MS,
        ephemeral_ms=request.ephemeral_ms,
        admin=request.admin,
        cidr=request.cidr,
        temporary_public_key=key.public.data,
        further_public_keys=[
            temporary_key(key, number).public.data for number in range(1, min(request.uses or 1, MOST_FURTHER_KEYS + 1))
        ],
        token_sha256=hashlib.sha256(redeem_token(key, invite_id)).digest(),
    )
    # The key is kept first: an invite that was made and whose answer was lost can still be shown.
    if not mesh.choices.keyring_entry:
        await asyncio.to_thread(keep_key, mesh.folder, invite_id, key)
    try:
        result = await submit(change)
    except MeshError as error:
        if not isinstance(error, OutcomeUnknown):
            await asyncio.to_thread(forget_key, mesh.folder, invite_id)
        raise
    if result.object_id not in ("", invite_id):  # it was asked for before, and is a repeat: the first one counts
        await asyncio.to_thread(forget_key, mesh.folder, invite_id)
        return await show_invite(mesh, result.object_id)
    stored = mesh.state.invites.get(invite_id)
    if stored is None:
        raise MeshError(
            f"invite {invite_id} was made, but this machine has not seen it yet",
            f"meshctl --mesh {mesh.name} invites show {invite_id} --qr",
            MADE,
        )
    return _reply(mesh, stored, key, [mesh.members[one] for one in result.applied_node_ids if one in mesh.members])


async def show_invite(mesh: Mesh, beginning: str) -> local_pb2.CreateInviteReply:
    """An open invite once more, with its secret. Raises NotFound and Conflict."""
    exact = mesh.state.invites.get(beginning)
    found = [one for one in mesh.state.invites.values() if beginning and one.id.startswith(beginning)]
    found = found if exact is None else [exact]
    if len(found) > 1:
        raise Conflict(f"{len(found)} invites begin with {beginning!r}", "write the whole id")
    if not found:
        raise NotFound(f"there is no invite {beginning!r} in {mesh.name}", "see `meshctl invites list`")
    stored = found[0]
    if stored.state != state_pb2.INVITE_STATE_OPEN:
        state = {state_pb2.INVITE_STATE_REDEEMED: "used", state_pb2.INVITE_STATE_REVOKED: "revoked"}
        raise Conflict(
            f"invite {stored.id} is of no use any more: {state.get(stored.state, 'expired')}",
            "meshctl invites create",
            "invite-closed",
        )
    if mesh.choices.keyring_entry:
        raise NotFound(
            f"the secret of invite {stored.id} is in the keyring of whoever made it here",
            f"as {mesh.choices.person}: meshctl invites show {stored.id} --qr",
            "in-keyring",
        )
    key = await asyncio.to_thread(read_key, mesh.folder, stored.id)
    if key is None or key.public.data != stored.temporary_public_key:
        raise NotFound(
            f"the secret of invite {stored.id} is not on this machine",
            f"ask {stored.created_by}, who made it; or revoke it and make another: meshctl invites create",
            "no-secret",
        )
    # By now every node that follows the state lets its key in.
    nodes = [one for one in mesh.members.values() if one.role is Role.NODE and mesh.sessions.is_online(one)]
    return _reply(mesh, stored, key, sorted(nodes, key=lambda one: (one.joined_ms, one.id)))


def _reply(
    mesh: Mesh, stored: state_pb2.Invite, key: PrivateKey, nodes: Sequence[Member]
) -> local_pb2.CreateInviteReply:
    nodes = [one for one in nodes if one.endpoints]
    if not nodes:
        raise MeshError(
            f"invite {stored.id} was made, but no node that others can reach has its key now",
            f"meshctl nodes list; then meshctl --mesh {mesh.name} invites show {stored.id} --qr",
            MADE,
        )
    invite = Invite(
        id=stored.id,
        mesh_id=mesh.choices.mesh_id,
        mesh_name=mesh.name,
        nodes=tuple(_invite_node(node) for node in nodes[:NODES_IN_INVITE]),
        temporary_key=key,
        temporary_ipv4=IPv4Address(stored.temporary_ipv4),
        temporary_ipv6=IPv6Address(stored.temporary_ipv6),
        ca_fingerprint=hashlib.sha256(mesh.identity.ca_certificate).digest(),
        expires_ms=stored.expires_ms,
        member=stored.member,
        role=stored.role,
        further_keys=len(stored.further_public_keys),
    )
    return local_pb2.CreateInviteReply(
        invite=invite_status(stored),
        text=invite.to_text(),
        uri=invite.to_uri(),
        file=invite.to_file(),
        keyring_entry=mesh.choices.keyring_entry,
    )


def _invite_node(node: Member) -> InviteNode:
    return InviteNode(
        node.ipv4,
        node.ipv6,
        node.public_key,
        tuple(str(endpoint) for endpoint in node.endpoints[:4]),
        node.join_port or defaults.JOIN_PORT,
    )
