"""Changes of members that exist: remove, rename, enable, admin, endpoints; and who votes."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from meshproto import state_pb2

from meshd.model.changes.admission import ENDPOINTS, check_name_free
from meshd.model.changes.context import Draft
from meshd.model.errors import Conflict, InvalidInput, NotFound
from meshd.model.members import Endpoint, Member, Role
from meshd.model.names import check_label


def _member(draft: Draft, member_id: str) -> tuple[Member, state_pb2.Member]:
    parsed = draft.state.parsed.get(member_id)
    if parsed is None:
        raise NotFound(f"there is no member {member_id!r} in {draft.state.settings.name}", "see `meshctl status`")
    copy = state_pb2.Member()
    copy.CopyFrom(draft.state.members[member_id])
    draft.subject_id = member_id
    draft.result.member_id = member_id
    return parsed, copy


def _sign_again(draft: Draft, member: state_pb2.Member, **fields: object) -> None:
    """Sets fields of the signed statement and has the CA sign the new one; fields it does not know survive."""
    statement = state_pb2.MemberStatement.FromString(member.record.statement)
    for name, value in fields.items():
        setattr(statement, name, value)
    statement.serial += 1
    member.record.CopyFrom(draft.context.authority.sign(statement))


def remove_member(draft: Draft) -> None:
    parsed, _ = _member(draft, draft.change.remove_member.id)
    if parsed.role is Role.NODE and len(draft.state.nodes) == 1 and len(draft.state.parsed) > 1:
        raise Conflict(
            f"{parsed.name} is the only node of {draft.state.settings.name}",
            "remove the peers first, or let another node join",
        )
    voters = draft.state.voters
    if parsed.id in {*voters.current, *voters.next} and len(draft.state.nodes) > 1:
        raise Conflict(f"{parsed.name} still votes", "try again: who votes is changed first")
    delete_members(draft, [parsed.id])
    draft.summary = f"{parsed.name} was removed"
    if parsed.role is Role.NODE and draft.change.remove_member.rotate_key:
        new_cluster_key(draft, without={parsed.id})
        draft.subject_id = draft.result.member_id = parsed.id
        draft.summary += ", and the cluster key is a new one"


def rotate_key(draft: Draft) -> None:
    new_cluster_key(draft)
    draft.summary = "the cluster key is a new one; the old one lets nobody in"


def new_cluster_key(draft: Draft, without: AbstractSet[str] = frozenset()) -> None:
    """A new cluster key, wrapped for every node that stays: whoever was away gets it when it is back."""
    settings = draft.context.authority.rotate(draft.state.settings)
    draft.put("settings", "", settings)
    for node in draft.state.nodes:
        if node.id not in without:
            _, copy = _member(draft, node.id)
            copy.wrapped_secret = draft.context.authority.wrap(settings, node.id, copy.certificate)
            draft.put("member", node.id, copy)
    draft.subject_id = draft.result.member_id = ""
    draft.result.object_id = str(settings.key_generation)


def delete_members(draft: Draft, gone: Sequence[str]) -> None:
    """Writes members out of the mesh with what hangs on them: routes and requests. None of them votes."""
    for member_id in gone:
        draft.delete("member", member_id)
    for key, route in draft.state.routes.items():
        if route.node_id in gone:
            draft.delete("route", key)
    for request in draft.state.requests.values():
        if request.authorized_member_id in gone:
            draft.delete("request", request.id)


def rename_member(draft: Draft) -> None:
    asked = draft.change.rename_member
    parsed, copy = _member(draft, asked.id)
    check_label(asked.name, "member name")
    if asked.name == parsed.name:
        return
    check_name_free(draft, asked.name, except_id=parsed.id)
    _sign_again(draft, copy, name=asked.name)
    draft.put("member", parsed.id, copy)
    draft.summary = f"{parsed.name} is now {asked.name}"


def set_enabled(draft: Draft) -> None:
    asked = draft.change.set_enabled
    parsed, copy = _member(draft, asked.id)
    if parsed.role is Role.NODE:
        raise Conflict(f"{parsed.name} is a node; only peers are enabled and disabled", "meshctl nodes remove")
    if parsed.enabled == asked.enabled:
        return
    copy.enabled = asked.enabled
    copy.disabled_by = "" if asked.enabled else draft.change.actor
    draft.put("member", parsed.id, copy)
    draft.summary = f"{parsed.name} was {'enabled' if asked.enabled else 'disabled'}"


def set_admin(draft: Draft) -> None:
    asked = draft.change.set_admin
    parsed, copy = _member(draft, asked.id)
    if parsed.role is not Role.PEER:
        raise Conflict(f"{parsed.name} is a {parsed.role.value}; only peers are made admins")
    if parsed.admin == asked.admin:
        return
    _sign_again(draft, copy, admin=asked.admin)
    draft.put("member", parsed.id, copy)
    draft.summary = f"{parsed.name} is {'now' if asked.admin else 'no longer'} an admin"


def update_endpoints(draft: Draft) -> None:
    asked = draft.change.update_endpoints
    parsed, copy = _member(draft, asked.id)
    if len(asked.endpoints) > ENDPOINTS:
        raise InvalidInput(f"a member has at most {ENDPOINTS} endpoints")
    endpoints = [str(Endpoint.parse(text)) for text in asked.endpoints]
    if not 0 < asked.listen_port < 65536 or not 0 <= asked.join_port < 65536:
        raise InvalidInput("ports are out of range")
    copy.endpoints[:] = endpoints
    copy.listen_port = asked.listen_port
    copy.behind_nat = asked.behind_nat
    copy.join_port = asked.join_port
    if copy == draft.state.members[parsed.id]:
        return
    draft.put("member", parsed.id, copy)
    draft.summary = f"{parsed.name} is reached at {', '.join(endpoints) or 'no endpoint of its own'}"


def set_voters(draft: Draft) -> None:
    voters = draft.change.set_voters.voters
    nodes = {member.id for member in draft.state.nodes}
    if any(len(set(one)) != len(one) for one in (voters.current, voters.next)):
        raise InvalidInput("a voter is named twice")
    if not voters.current or not ({*voters.current, *voters.next} <= nodes):
        raise InvalidInput("voters must be nodes of the mesh")
    if voters == draft.state.voters:
        return
    draft.put("voters", "", voters)
    names = ", ".join(draft.state.parsed[one].name for one in (voters.next or voters.current))
    draft.summary = f"{'next voters' if voters.next else 'voters'}: {names}"
