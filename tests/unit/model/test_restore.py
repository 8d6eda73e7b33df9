from __future__ import annotations

from typing import Any

import pytest
from meshd.model.changes.restore import restore_mesh, restored_position
from meshd.model.errors import Conflict
from meshd.model.position import Position
from meshd.model.state import State
from meshproto import node_pb2

EPOCH = 77 << 44


def restored(mesh: Any, name: str, applicant: node_pb2.Applicant | None = None, epoch: int = EPOCH) -> State:
    state: State = mesh.state
    node = state.find_member(name)
    entry = restore_mesh(state, node, applicant or mesh.applicant(name), mesh.context, "restore-1", epoch)
    position = restored_position(state, epoch)
    return State().with_entry(entry, position)


def test_everybody_is_there_and_the_node_has_new_keys(mesh: Any) -> None:
    other = mesh.node("gw-b")
    peer = mesh.peer("laptop-ada")
    mesh.invite("laptop-bob")
    mesh.do(add_route=node_pb2.AddRoute(cidr="203.0.113.0/24", node_id=other))
    before: State = mesh.state
    after = restored(mesh, "gw-a")
    assert after.position == Position(EPOCH, before.position.revision + 1)
    assert set(after.members) == set(before.members)
    assert (after.routes, after.invites, after.settings) == (before.routes, before.invites, before.settings)
    old, new = before.find_member("gw-a"), after.find_member("gw-a")
    assert (new.id, new.ipv4, new.ipv6, new.subnet) == (old.id, old.ipv4, old.ipv6, old.subnet)
    assert new.public_key != old.public_key
    assert after.members[new.id].wrapped_secret
    assert after.members[peer] == before.members[peer]
    assert (list(after.voters.current), list(after.voters.next), after.primary_id) == ([new.id], [], new.id)


def test_of_two_restores_the_later_ones_keys_count(mesh: Any) -> None:
    """Also over those that the earlier one's mesh signed since."""
    earlier, later = restored(mesh, "gw-a"), restored(mesh, "gw-a", epoch=EPOCH + 2**32)
    serials = [state.find_member("gw-a").serial for state in (mesh.state, earlier, later)]
    assert serials[0] < serials[1]
    assert serials[1] + 10_000 < serials[2]
    mesh.state = later
    assert restored(mesh, "gw-a").find_member("gw-a").serial > serials[2], "a backup of a mesh that has a later epoch"


def test_a_key_that_somebody_has_is_refused(mesh: Any) -> None:
    peer = mesh.peer("laptop-ada")
    applicant = mesh.applicant("gw-a")
    applicant.public_key = mesh.state.parsed[peer].public_key.data
    with pytest.raises(Conflict):
        restored(mesh, "gw-a", applicant)
