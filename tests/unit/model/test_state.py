"""The state as a value: entries, views, what peers may see, and finding members."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.errors import Conflict, InvalidInput, NotFound
from meshd.model.members import Role
from meshd.model.position import Position
from meshd.model.state import State, filtered_entry
from meshproto import node_pb2, state_pb2


def test_a_state_reads_back_from_its_view(mesh: Any) -> None:
    mesh.node("gw-b")
    mesh.peer("laptop-ada")
    mesh.do(add_route=node_pb2.AddRoute(cidr="203.0.113.0/24", node_id=mesh.state.primary_id))
    again = State.from_view(state_pb2.View.FromString(mesh.state.to_view().SerializeToString()))
    assert again == mesh.state


def test_an_entry_leaves_the_state_before_as_it_was(mesh: Any) -> None:
    before, view = mesh.state, mesh.state.to_view()
    mesh.peer("laptop-ada")
    assert before.to_view() == view
    assert len(before.parsed) == 1
    assert mesh.state.position == Position(1, before.position.revision + 2)


def test_only_members_that_changed_are_read_again(mesh: Any) -> None:
    first = mesh.state.parsed[mesh.state.primary_id]
    mesh.peer("laptop-ada")
    assert mesh.state.parsed[mesh.state.primary_id] is first


def test_writes_of_unknown_kinds_are_left_out_and_broken_ones_refused(mesh: Any) -> None:
    newer = state_pb2.ChangeEntry(writes=[state_pb2.Write(kind="association", key="x", value=b"\xff")])
    assert mesh.state.with_entry(newer, Position(1, 9)).members == mesh.state.members
    for write in (
        state_pb2.Write(kind="member", key="x", value=b"\xff"),
        state_pb2.Write(kind="member", key="x", value=state_pb2.Member(id="y").SerializeToString()),
    ):
        with pytest.raises(InvalidInput):
            mesh.state.with_entry(state_pb2.ChangeEntry(writes=[write]), Position(1, 9))


@given(st.binary(max_size=80))
def test_any_bytes_as_a_member_are_a_problem_or_refused_and_never_a_traceback(data: bytes) -> None:
    message = state_pb2.Member(id="x", record=state_pb2.MemberRecord(statement=data))
    state = State.from_view(state_pb2.View(members=[message]))
    assert set(state.problems) == {"x"}
    with pytest.raises(InvalidInput):
        State().with_entry(
            state_pb2.ChangeEntry(writes=[state_pb2.Write(kind="member", key="x", value=data)]), Position(1, 1)
        )


def secrets_in(data: bytes, mesh: Any) -> list[str]:
    found = {
        "CA key": mesh.state.settings.encrypted_ca_key,
        "token": next(iter(mesh.state.invites.values())).token_sha256,
        "cluster secret": mesh.state.members[mesh.state.primary_id].wrapped_secret,
        "certificate": mesh.state.members[mesh.state.primary_id].certificate,
    }
    return [name for name, secret in found.items() if secret in data]


def test_a_peers_view_and_changes_hold_no_secret(mesh: Any) -> None:
    peer = mesh.peer("laptop-ada")
    mesh.invite("laptop-bob")
    assert len(secrets_in(mesh.state.to_view().SerializeToString(), mesh)) == 4
    view = mesh.state.for_peer(peer)
    assert secrets_in(view.SerializeToString(), mesh) == []
    assert {member.id for member in view.members} == {peer, mesh.state.primary_id}
    for entry in mesh.entries:
        assert secrets_in(filtered_entry(entry).SerializeToString(), mesh) == []


def test_following_filtered_changes_gives_the_filtered_view(mesh: Any) -> None:
    peer = mesh.peer("laptop-ada")
    follower = State.from_view(mesh.state.for_peer(peer))
    mesh.peer("laptop-bob")
    mesh.do(set_admin=node_pb2.SetAdmin(id=peer, admin=True))
    for entry in mesh.entries[-3:]:
        follower = follower.with_entry(filtered_entry(entry), Position(1, follower.position.revision + 1))
    assert follower.parsed == State.from_view(mesh.state.for_peer(peer)).parsed


def test_a_disabled_peer_sees_itself_and_the_nodes(mesh: Any) -> None:
    peer = mesh.peer("laptop-ada")
    mesh.peer("laptop-bob")
    mesh.do(set_enabled=node_pb2.SetEnabled(id=peer, enabled=False))
    names = {member.name for member in State.from_view(mesh.state.for_peer(peer)).parsed.values()}
    assert names == {"gw-a", "laptop-ada"}


def test_who_was_removed_is_told_that_and_nothing_else(mesh: Any) -> None:
    peer = mesh.peer("laptop-ada")
    mesh.do(remove_member=node_pb2.RemoveMember(id=peer))
    view = mesh.state.for_removed()
    assert (State.from_view(view).position, list(view.members)) == (mesh.state.position, [])
    assert secrets_in(view.SerializeToString(), mesh) == []
    assert mesh.state.settings.encrypted_ca_key, "the state itself is as it was"


def test_members_are_found_by_name_id_prefix_and_address(mesh: Any) -> None:
    peer = mesh.peer("laptop-ada")
    member = mesh.state.parsed[peer]
    for who in ("laptop-ada", "LAPTOP-ADA", peer, peer[:8], str(member.ipv4), str(member.ipv6)):
        assert mesh.state.find_member(who) is member
    for who in ("laptop-eve", peer[:3], "10.51.0.99", ""):
        with pytest.raises(NotFound):
            mesh.state.find_member(who)
    with pytest.raises(NotFound):
        mesh.state.find_member("laptop-ada", Role.NODE)


def test_an_ambiguous_prefix_names_the_candidates(mesh: Any) -> None:
    parsed = dict(mesh.state.parsed)
    member = parsed.pop(mesh.state.primary_id)
    twins = {f"abcd{n}": replace(member, id=f"abcd{n}", name=f"gw-{n}") for n in range(2)}
    with pytest.raises(Conflict) as caught:
        State(parsed=twins).find_member("abcd")
    assert "gw-0, gw-1" in str(caught.value)


def test_nodes_and_peers_are_oldest_first(mesh: Any) -> None:
    mesh.node("gw-b")
    mesh.node("aa-new")
    mesh.peer("laptop-ada")
    assert [node.name for node in mesh.state.nodes] == ["gw-a", "gw-b", "aa-new"]
    assert [peer.name for peer in mesh.state.peers] == ["laptop-ada"]


def test_a_member_is_found_by_its_certificate(mesh: Any) -> None:
    member = mesh.state.find_member("gw-a")
    assert mesh.state.by_certificate(member.certificate_sha256) is member
    assert mesh.state.by_certificate(b"x") is None
    peer = mesh.peer("laptop-ada")
    assert mesh.state.by_certificate(mesh.state.parsed[peer].certificate_sha256).id == peer
