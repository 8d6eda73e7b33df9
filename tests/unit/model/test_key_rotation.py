from __future__ import annotations

from typing import Any

import pytest
from meshd.model.errors import NotPermitted
from meshproto import node_pb2, state_pb2


def wrapped(mesh: Any) -> dict[str, bytes]:
    return {one.id: mesh.state.members[one.id].wrapped_secret for one in mesh.state.nodes}


def test_every_node_gets_the_new_secret_and_no_peer(mesh: Any) -> None:
    mesh.node("gw-b")
    peer = mesh.peer("laptop-ada")
    before = wrapped(mesh)
    result = mesh.do(rotate_key=node_pb2.RotateKey())
    assert (mesh.state.settings.key_generation, result.object_id) == (1, "1")
    after = wrapped(mesh)
    assert after == {node: b"sealed 1 for " + node.encode() for node in before}
    assert not mesh.state.members[peer].wrapped_secret
    assert mesh.entries[-1].summary == "the cluster key is a new one; the old one lets nobody in"


def test_a_node_that_joins_gets_it_with_its_record(mesh: Any) -> None:
    mesh.do(rotate_key=node_pb2.RotateKey())
    admit = node_pb2.AdmitNode(applicant=mesh.applicant("gw-b"), key_generation=1)
    member = mesh.do(admit_node=admit).member_id
    assert mesh.state.members[member].wrapped_secret == b"sealed 1 for " + member.encode()
    token = mesh.invite("gw-c", state_pb2.ROLE_NODE)
    assert mesh.state.invites[token].role == state_pb2.ROLE_NODE


def test_a_proof_with_the_old_key_is_refused(mesh: Any) -> None:
    """The node that was asked may not have heard of the rotation; the primary has."""
    mesh.do(rotate_key=node_pb2.RotateKey())
    for generation in (0, 2):
        with pytest.raises(NotPermitted) as error:
            mesh.decide(admit_node=node_pb2.AdmitNode(applicant=mesh.applicant("gw-b"), key_generation=generation))
        assert error.value.code == "wrong-key"


def test_a_removed_node_does_not_get_the_new_key(mesh: Any) -> None:
    gone = mesh.node("gw-b")
    kept = mesh.node("gw-c")
    mesh.do(remove_member=node_pb2.RemoveMember(id=gone, rotate_key=True))
    assert gone not in mesh.state.members
    assert mesh.state.members[kept].wrapped_secret == b"sealed 1 for " + kept.encode()
    assert mesh.state.settings.key_generation == 1
    assert mesh.entries[-1].subject_id == gone
    assert mesh.entries[-1].summary == "gw-b was removed, and the cluster key is a new one"


def test_one_that_leaves_by_itself_changes_no_key(mesh: Any) -> None:
    gone = mesh.node("gw-b")
    mesh.do(remove_member=node_pb2.RemoveMember(id=gone))
    assert mesh.state.settings.key_generation == 0
