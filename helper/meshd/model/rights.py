"""What a member may change: nodes and admin peers everything, everybody themselves. Pure."""

from __future__ import annotations

from meshproto import node_pb2

from meshd.model.errors import NotPermitted
from meshd.model.members import Member, Role

NODES_ONLY = frozenset({"admit_node", "redeem_invite", "add_request", "expire_invites", "set_voters"})
"""Changes that a node makes on its own account or for a stranger whose proof it checked."""

OWN = frozenset({"remove_member", "update_endpoints"})
"""Changes that any member may make about itself."""


def check_right(member: Member, change: node_pb2.Change, mesh: str) -> None:
    """Raises NotPermitted."""
    kind = change.WhichOneof("what")
    if member.role is Role.NODE:
        return
    if kind in NODES_ONLY:
        raise NotPermitted(f"only nodes may do that in {mesh}")
    if kind in OWN and getattr(change, kind).id == member.id:
        return
    if not member.admin:
        raise NotPermitted(
            f"{member.name} is not an admin of {mesh}", f"on a node: meshctl peers admin {member.name} on"
        )
