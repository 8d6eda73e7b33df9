"""Letting machines in: nodes by the cluster key, peers by request. Invites are in `invites`."""

from __future__ import annotations

import hashlib
import uuid

from meshproto import node_pb2, state_pb2
from meshproto.keys import PublicKey

from meshd.model.addresses import (
    Pools,
    check_transport,
    ipv6_addresses,
    next_node_subnet,
    next_peer_address,
    node_address,
    origin,
)
from meshd.model.changes.context import Draft
from meshd.model.errors import Conflict, InvalidInput, NotFound, NotPermitted
from meshd.model.members import Endpoint, Role
from meshd.model.names import check_label

REQUEST_WAITS_MS = 7 * 24 * 3600 * 1000
"""How long a machine's request to be let in waits for a decision."""

REFUSED_KEPT_MS = 24 * 3600 * 1000
"""How long a refused request is kept, so that the machine hears of it."""

MOST_REQUESTS = 100
"""Machines that may wait for a decision at once: strangers can't fill the state."""

MOST_REQUESTS_OF_ONE = 20
"""Of these, from one source address (IPv6: one /64): one stranger can't take every place."""

TOO_MANY_REQUESTS = "too-many-requests"
"""Code of the errors that say so."""

ROTATED = (
    "the cluster key is wrong, or was rotated",
    "get the present one on a node: meshctl key show",
)

ENDPOINTS = 16
"""Endpoints that one member may have; more are a mistake or an attack."""


def check_name_free(draft: Draft, name: str, except_id: str = "") -> None:
    """Raises Conflict when a member has the name, or an open invite keeps it for somebody."""
    for member in draft.state.parsed.values():
        if member.name == name and member.id != except_id:
            raise Conflict(f"the name {name} is taken in {draft.state.settings.name}", "choose another one: --name")
    for invite in draft.state.invites.values():
        if invite.member == name and invite.state == state_pb2.INVITE_STATE_OPEN and invite.id != except_id:
            raise Conflict(f"the name {name} is kept for invite {invite.id}", "choose another one: --name")


def temporary_keys(invite: state_pb2.Invite) -> list[bytes]:
    """The public keys that open the tunnel for whoever redeems the invite."""
    return [invite.temporary_public_key, *invite.further_public_keys] if invite.temporary_public_key else []


def check_applicant(draft: Draft, applicant: node_pb2.Applicant) -> PublicKey:
    """Checks a stranger's fields; returns its WireGuard key. Raises InvalidInput or Conflict."""
    try:
        key = PublicKey(applicant.public_key)
    except ValueError as error:
        raise InvalidInput(f"the applicant's key: {error}") from error
    if not any(key.data):
        raise InvalidInput("the applicant's key is all zeros")
    if len(applicant.endpoints) > ENDPOINTS or len(applicant.certificate_request) > 8192:
        raise InvalidInput("the applicant sent more than a machine needs")
    for text in applicant.endpoints:
        Endpoint.parse(text)
    if not 0 < applicant.listen_port < 65536 or not 0 <= applicant.join_port < 65536:
        raise InvalidInput("the applicant's ports are out of range")
    if any(member.public_key == key for member in draft.state.parsed.values()):
        raise Conflict(f"this machine is in {draft.state.settings.name} already", "meshctl status")
    if any(key.data in temporary_keys(invite) for invite in draft.state.invites.values()):
        raise InvalidInput("the key of an invite is not a machine's own key", "join with a new key")
    return key


def new_member(
    draft: Draft,
    applicant: node_pb2.Applicant,
    role: Role,
    name: str,
    joined_by: str,
    *,
    admin: bool = False,
    ephemeral_ms: int = 0,
) -> state_pb2.Member:
    """A member with addresses, certificate and signed record; the caller writes it. Raises MeshError."""
    check_label(name, "member name")
    key = check_applicant(draft, applicant)
    pools = Pools.from_settings(draft.state.settings)
    if role is Role.NODE:
        subnet = next_node_subnet(draft.state, pools)
        ipv4 = node_address(subnet)
    else:
        subnet = None
        ipv4 = next_peer_address(draft.state, pools, name)
    ipv6, transport = ipv6_addresses(pools, key)
    check_transport(draft.state, role, transport)
    member_id = str(uuid.UUID(bytes=draft.context.random(16), version=4))
    certificate = draft.context.authority.certify(applicant.certificate_request, member_id, role)
    statement = state_pb2.MemberStatement(
        mesh_id=draft.state.settings.id,
        id=member_id,
        name=name,
        role=role.message,
        public_key=key.data,
        ipv4=str(ipv4),
        ipv6=str(ipv6),
        transport=str(transport),
        subnet=str(subnet) if subnet else "",
        admin=admin,
        certificate_sha256=hashlib.sha256(certificate).digest(),
        serial=1,
    )
    member = state_pb2.Member(
        id=member_id,
        record=draft.context.authority.sign(statement),
        certificate=certificate,
        endpoints=[str(Endpoint.parse(text)) for text in applicant.endpoints],
        listen_port=applicant.listen_port,
        enabled=True,
        joined_ms=draft.context.now_ms,
        joined_by=joined_by,
        ephemeral_ms=ephemeral_ms,
        protocol_version=applicant.protocol_version,
        behind_nat=applicant.behind_nat,
        join_port=applicant.join_port if role is Role.NODE else 0,
    )
    if role is Role.NODE:
        member.wrapped_secret = draft.context.authority.wrap(draft.state.settings, member_id, certificate)
    draft.subject_id = member_id
    draft.result.member_id = member_id
    draft.result.member.CopyFrom(member)
    return member


def admit_node(draft: Draft) -> None:
    applicant = draft.change.admit_node.applicant
    if draft.change.admit_node.key_generation != draft.state.settings.key_generation:
        raise NotPermitted(*ROTATED, "wrong-key")
    check_name_free(draft, applicant.name)
    member = new_member(draft, applicant, Role.NODE, applicant.name, "cluster key")
    draft.put("member", member.id, member)
    draft.summary = f"{applicant.name} joined as a node"


def add_request(draft: Draft) -> None:
    """A machine that asks again, with the same key, finds the request it made; it may have chosen another name."""
    asked = draft.change.add_request
    check_label(asked.applicant.name, "member name")
    known = draft.state.requests.get(asked.id)
    if known is not None and known.public_key != asked.applicant.public_key:
        raise Conflict("a request with that id exists already", "try again")
    if known is not None and (known.authorized_member_id or known.refused or known.name == asked.applicant.name):
        draft.result.object_id = known.id
        return
    check_name_free(draft, asked.applicant.name)
    check_applicant(draft, asked.applicant)
    if known is None:
        _check_room(draft, asked.source)
    if not 0 < len(asked.id) <= 64 or not asked.id.isascii() or not asked.id.isprintable():
        raise InvalidInput("the id of a request has 1 to 64 plain characters")
    request = state_pb2.JoinRequest(
        id=asked.id,
        name=asked.applicant.name,
        public_key=asked.applicant.public_key,
        certificate_request=asked.applicant.certificate_request,
        source=asked.source,
        since_ms=known.since_ms if known else draft.context.now_ms,
        endpoints=[str(Endpoint.parse(text)) for text in asked.applicant.endpoints],
        listen_port=asked.applicant.listen_port,
        behind_nat=asked.applicant.behind_nat,
        protocol_version=asked.applicant.protocol_version,
    )
    draft.put("request", request.id, request)
    draft.subject_id = draft.result.object_id = request.id
    draft.summary = f"{request.name} asks from {request.source} to be let in"


def _check_room(draft: Draft, source: str) -> None:
    """Raises Conflict when too many wait for a decision already."""
    waiting = [one for one in draft.state.requests.values() if not one.authorized_member_id and not one.refused]
    place = origin(source)
    if sum(origin(one.source) == place for one in waiting) >= MOST_REQUESTS_OF_ONE:
        text = f"too many machines from {place} are waiting to be let in"
        raise Conflict(text, "decide on some: meshctl peers pending", TOO_MANY_REQUESTS)
    if len(waiting) >= MOST_REQUESTS:
        text = "too many machines are waiting to be let in"
        raise Conflict(text, "decide on some: meshctl peers pending", TOO_MANY_REQUESTS)


def _open_request(draft: Draft, wanted: str) -> state_pb2.JoinRequest:
    exact = draft.state.requests.get(wanted)
    found = [exact] if exact else [one for one in draft.state.requests.values() if wanted and one.id.startswith(wanted)]
    if len(found) != 1:
        raise NotFound(f"there is no request {wanted!r}", "see `meshctl peers pending`")
    request = found[0]
    if request.refused:
        raise Conflict(f"request {request.id} of {request.name} was refused already")
    return request


def authorize_request(draft: Draft) -> None:
    request = _open_request(draft, draft.change.authorize_request.id)
    if request.authorized_member_id:
        return
    check_name_free(draft, request.name)
    applicant = node_pb2.Applicant(
        name=request.name,
        public_key=request.public_key,
        certificate_request=request.certificate_request,
        endpoints=request.endpoints,
        listen_port=request.listen_port,
        behind_nat=request.behind_nat,
        protocol_version=request.protocol_version,
    )
    member = new_member(draft, applicant, Role.PEER, request.name, f"request {request.id}")
    changed = state_pb2.JoinRequest()
    changed.CopyFrom(request)
    changed.authorized_member_id = member.id
    draft.put("member", member.id, member)
    draft.put("request", request.id, changed)
    draft.result.object_id = request.id
    draft.summary = f"{request.name} was let in as a peer"


def refuse_request(draft: Draft) -> None:
    request = _open_request(draft, draft.change.refuse_request.id)
    if request.authorized_member_id:
        raise Conflict(f"{request.name} was let in already", f"meshctl peers remove {request.name}")
    changed = state_pb2.JoinRequest()
    changed.CopyFrom(request)
    changed.refused = True
    draft.put("request", request.id, changed)
    draft.subject_id = draft.result.object_id = request.id
    draft.summary = f"{request.name} was refused"


def drop_old_requests(draft: Draft) -> list[str]:
    """Part of expiry: forgets requests that nobody decided on, and refused ones that had time to hear of it."""
    gone = []
    for request in draft.state.requests.values():
        kept = REFUSED_KEPT_MS if request.refused else REQUEST_WAITS_MS
        if not request.authorized_member_id and request.since_ms + kept <= draft.context.now_ms:
            draft.delete("request", request.id)
            gone.append(f"the request of {request.name} is dropped")
    return gone
