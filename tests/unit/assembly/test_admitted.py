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
