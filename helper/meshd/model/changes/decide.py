"""The table from each kind of change to the function that decides it, and the first change of all."""

from __future__ import annotations

from collections.abc import Callable

from meshproto import node_pb2, state_pb2

from meshd.model.addresses import Addressing, Pools
from meshd.model.changes import admission, election, invites, members, routes
from meshd.model.changes.context import Context, Draft
from meshd.model.errors import InvalidInput
from meshd.model.members import Role
from meshd.model.names import check_domain, check_label
from meshd.model.requests import check_request
from meshd.model.state import State
from meshd.model.voters import ELECTION_TIMEOUT_MS

DEFAULT_MTU = 1420
"""Bytes: 1500 less IPv6 header 40, UDP 8 and WireGuard 32."""

_DECISIONS: dict[str, Callable[[Draft], None]] = {
    "admit_node": admission.admit_node,
    "redeem_invite": invites.redeem_invite,
    "create_invite": invites.create_invite,
    "revoke_invite": invites.revoke_invite,
    "expire_invites": invites.expire_invites,
    "add_request": admission.add_request,
    "authorize_request": admission.authorize_request,
    "refuse_request": admission.refuse_request,
    "remove_member": members.remove_member,
    "rotate_key": members.rotate_key,
    "rename_member": members.rename_member,
    "set_enabled": members.set_enabled,
    "set_admin": members.set_admin,
    "update_endpoints": members.update_endpoints,
    "add_route": routes.add_route,
    "remove_route": routes.remove_route,
    "set_voters": members.set_voters,
    "set_election_timeout": election.set_election_timeout,
}


def decide(state: State, change: node_pb2.Change, context: Context) -> state_pb2.ChangeEntry | None:
    """The entry to write, or None when everything already is as it was asked for. Raises MeshError on refusal."""
    kind = change.WhichOneof("what")
    if kind is None or kind not in _DECISIONS:
        raise InvalidInput("this version of meshd does not know that change", "upgrade the nodes")
    check_request(change)
    if len(change.actor) > 256 or not change.actor.isprintable():
        raise InvalidInput("the actor of a change is too long or not plain text")
    draft = Draft(state, change, context)
    _DECISIONS[kind](draft)
    return draft.entry() if draft.writes else None


def create_mesh(
    name: str,
    mesh_id: str,
    pools: Pools,
    dns_domain: str,
    mtu: int,
    ca_certificate: bytes,
    encrypted_ca_key: bytes,
    applicant: node_pb2.Applicant,
    context: Context,
    request_id: str,
    election_timeout_ms: int = 0,
) -> state_pb2.ChangeEntry:
    """The first entry: the settings, the first node, which is the only voter and the primary. ("" and 0: defaults.)

    Raises InvalidInput.
    """
    check_label(name, "mesh name")
    check_label(applicant.name, "member name")
    dns_domain, mtu = dns_domain or f"{name}.wg", mtu or DEFAULT_MTU
    check_domain(dns_domain)
    if len(dns_domain) > 120 or not 1280 <= mtu <= 65535:
        raise InvalidInput("the DNS domain is too long, or the MTU not between 1280 and 65535", "choose --mtu")
    election.check_election_timeout(election_timeout_ms or ELECTION_TIMEOUT_MS)
    settings = state_pb2.MeshSettings(
        id=mesh_id,
        name=name,
        ca_certificate=ca_certificate,
        encrypted_ca_key=encrypted_ca_key,
        node_pool=str(pools.node_pool),
        node_prefix=pools.node_prefix,
        peer_pool=str(pools.peer_pool),
        addressing=state_pb2.ADDRESSING_HASH
        if pools.addressing is Addressing.HASH
        else state_pb2.ADDRESSING_SEQUENTIAL,
        ula_prefix=str(pools.ula),
        transport_prefix=str(pools.transport),
        dns_domain=dns_domain,
        mtu=mtu,
        created_ms=context.now_ms,
        format=1,
        election_timeout_ms=election_timeout_ms,
    )
    change = node_pb2.Change(request_id=request_id, actor="meshd")
    draft = Draft(State(settings=settings), change, context)
    member = admission.new_member(draft, applicant, Role.NODE, applicant.name, "create")
    draft.put("settings", "", settings)
    draft.put("member", member.id, member)
    draft.put("voters", "", state_pb2.VoterRecord(current=[member.id]))
    draft.writes.append(state_pb2.Write(kind="primary", key="", value=member.id.encode()))
    draft.summary = f"{applicant.name} created {name}"
    draft.subject_id = member.id
    entry = draft.entry()
    entry.action = "create"
    return entry
