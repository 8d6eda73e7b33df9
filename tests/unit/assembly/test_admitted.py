"""A member that was admitted here counts until our own state is as new; from then on only the state says who is one."""

from __future__ import annotations

from meshd.assembly.admitted import Admitted
from meshd.model.position import Position
from meshd.model.state import State
from meshproto import state_pb2

ADA = state_pb2.Member(id="ada")


def state(revision: int, *members: state_pb2.Member) -> State:
    return State(position=Position(2, revision), members={one.id: one for one in members})


def test_a_member_serves_until_our_data_have_it() -> None:
    admitted = Admitted()
    admitted.add(ADA, Position(2, 7), state(5))
    assert admitted.messages == {"ada": ADA}
    assert admitted.over(state(5)).members == {"ada": ADA}
    admitted.follow(state(6))
    assert admitted.messages == {"ada": ADA}
    admitted.follow(state(7, ADA))
    assert admitted.messages == {}


def test_a_member_that_was_removed_is_not_taken_back() -> None:
    admitted = Admitted()
    admitted.add(ADA, Position(2, 7), state(8))
    assert admitted.messages == {}
    admitted.add(ADA, Position(2, 7), state(5))
    admitted.follow(state(8))
    assert admitted.messages == {}
    assert admitted.over(state(8)).members == {}


def test_a_node_with_new_keys_counts_until_our_data_have_them() -> None:
    """Of a mesh that was restored meanwhile: its data begin in a later epoch."""
    admitted = Admitted()
    old, new = state_pb2.Member(id="gw", listen_port=1), state_pb2.Member(id="gw", listen_port=2)
    ours = state(9, old)
    admitted.renew([new, state_pb2.Member(id="unknown")], Position(2 + 2**20, 8), ours)
    assert admitted.renewed == {"gw": new}
    assert admitted.over(ours).members == {"gw": new}
    admitted.follow(state(10, old))
    assert admitted.renewed == {"gw": new}
    admitted.follow(State(position=Position(2 + 2**20, 8), members={"gw": new}))
    assert admitted.renewed == {}
    admitted.renew([new], Position(2, 8), ours)
    assert admitted.renewed == {}
