"""Who may ask for which change."""

from __future__ import annotations

from typing import Any

import pytest
from meshd.model.errors import NotPermitted
from meshd.model.rights import check_right
from meshproto import node_pb2

KINDS = [field.name for field in node_pb2.Change.DESCRIPTOR.oneofs_by_name["what"].fields]
NODES_ONLY = {"admit_node", "redeem_invite", "add_request", "expire_invites", "set_voters"}


def change(kind: str, member_id: str = "") -> node_pb2.Change:
    asked = node_pb2.Change()
    getattr(asked, kind).SetInParent()
    if member_id:
        getattr(asked, kind).id = member_id
    return asked


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_may_everything_admins_nearly_and_others_nothing(mesh: Any, kind: str) -> None:
    peer = mesh.peer("laptop-ada")
    check_right(mesh.state.find_member("gw-a"), change(kind), "home")
    with pytest.raises(NotPermitted):
        check_right(mesh.state.parsed[peer], change(kind), "home")
    mesh.do(set_admin=node_pb2.SetAdmin(id=peer, admin=True))
    if kind in NODES_ONLY:
        with pytest.raises(NotPermitted):
            check_right(mesh.state.parsed[peer], change(kind), "home")
    else:
        check_right(mesh.state.parsed[peer], change(kind), "home")


def test_everybody_may_leave_and_say_where_it_is(mesh: Any) -> None:
    peer = mesh.peer("laptop-ada")
    for kind in ("remove_member", "update_endpoints"):
        check_right(mesh.state.parsed[peer], change(kind, peer), "home")
        with pytest.raises(NotPermitted) as caught:
            check_right(mesh.state.parsed[peer], change(kind, mesh.state.primary_id), "home")
        assert str(caught.value) == "laptop-ada is not an admin of home"
        assert "meshctl peers admin laptop-ada on" in caught.value.fix


def test_a_change_of_no_kind_is_not_permitted_to_peers(mesh: Any) -> None:
    peer = mesh.peer("laptop-ada")
    with pytest.raises(NotPermitted):
        check_right(mesh.state.parsed[peer], node_pb2.Change(), "home")
