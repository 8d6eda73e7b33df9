"""Quorums: any two of them share a member, also across a change of voters."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.voters import oldest_voters, quorum_met
from meshproto.state_pb2 import VoterRecord


def subsets(ids: set[str]) -> list[frozenset[str]]:
    return [frozenset(one) for one in chain.from_iterable(combinations(sorted(ids), n) for n in range(len(ids) + 1))]


@pytest.mark.parametrize(
    ("current", "confirmed", "met"),
    [("a", "a", True), ("a", "", False), ("ab", "a", True), ("ab", "b", False), ("abc", "bc", True),
     ("abc", "a", False), ("abcd", "ab", True), ("abcd", "bc", False), ("abcd", "bcd", True), ("", "", False),
     ("abc", "xyz", False)],
)  # fmt: skip
def test_more_than_half_or_half_with_the_oldest(current: str, confirmed: str, met: bool) -> None:
    assert quorum_met(VoterRecord(current=list(current)), set(confirmed)) is met


def test_a_change_of_voters_needs_a_quorum_of_each() -> None:
    record = VoterRecord(current=list("abc"), next=list("de"))
    assert not quorum_met(record, set("abc"))
    assert not quorum_met(record, set("de"))
    assert quorum_met(record, set("abd"))


sets = st.lists(st.sampled_from("abcdef"), unique=True, min_size=1, max_size=5)


@given(sets, sets)
def test_two_quorums_share_a_voter(old: list[str], new: list[str]) -> None:
    everybody = subsets({*old, *new})
    records = [VoterRecord(current=old), VoterRecord(current=old, next=new), VoterRecord(current=new)]
    for one, other in ((0, 0), (0, 1), (1, 1), (1, 2)):
        first = [group for group in everybody if quorum_met(records[one], group)]
        second = [group for group in everybody if quorum_met(records[other], group)]
        assert first
        assert all(group & another for group in first for another in second)


def test_the_oldest_seven_nodes_vote(mesh: Any) -> None:
    mesh.peer("laptop-ada")
    ids = [mesh.state.primary_id, *(mesh.node(f"gw-{number}") for number in range(8))]
    assert oldest_voters(mesh.state) == ids[:7]
