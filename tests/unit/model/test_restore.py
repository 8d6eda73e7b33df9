from __future__ import annotations

from typing import Any

import pytest
from meshd.model.changes.restore import EPOCH_STEP, restore_mesh, restored_position
from meshd.model.errors import Conflict
from meshd.model.position import Position
from meshd.model.state import State
from meshproto import node_pb2


def restored(mesh: Any, name: str, applicant: node_pb2.Applicant | None = None) -> State:
    state: State = mesh.state
    node = state.find_member(name)
    entry = restore_mesh(state, node, applicant or mesh.applicant(name), mesh.context, "restore-1")
    position = restored_position(state)
    return State().with_entry(entry, position)


def test_everybody_is_there_and_the_node_has_new_keys(mesh: Any) -> None:
    other = mesh.node("gw-b")
    peer = mesh.peer("laptop-ada")
    mesh.invite("laptop-bob")
    mesh.do(add_route=node_pb2.AddRoute(cidr="203.0.113.0/24", node_id=other))
    before: State = mesh.state
    after = restored(mesh, "gw-a")
    assert after.position == Position(before.position.epoch + EPOCH_STEP, before.position.revision + 1)
    assert set(after.members) == set(before.members)
    assert (after.routes, after.invites, after.settings) == (before.routes, before.invites, before.settings)
    old, new = before.find_member("gw-a"), after.find_member("gw-a")
    assert (new.id, new.ipv4, new.ipv6, new.subnet) == (old.id, old.ipv4, old.ipv6, old.subnet)
    assert new.public_key != old.public_key
    assert after.members[new.id].wrapped_secret
    assert after.members[peer] == before.members[peer]
    assert (list(after.voters.current), list(after.voters.next), after.primary_id) == ([new.id], [], new.id)


def test_a_key_that_somebody_has_is_refused(mesh: Any) -> None:
    peer = mesh.peer("laptop-ada")
    applicant = mesh.applicant("gw-a")
    applicant.public_key = mesh.state.parsed[peer].public_key.data
    with pytest.raises(Conflict):
        restored(mesh, "gw-a", applicant)
