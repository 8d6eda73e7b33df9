"""A peer, or strangers, can't push others' changes out of the 10,000 that are kept: they write seldom."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly.write_limits import WriteLimits
from meshd.cluster.admission import TooManyTries
from meshd.model.members import Role
from meshproto import node_pb2, state_pb2


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


RENAME = node_pb2.Change(rename_member=node_pb2.RenameMember(name="laptop-ada"))
LEAVE = node_pb2.Change(remove_member=node_pb2.RemoveMember())


def member(name: str, number: int, role: Role = Role.PEER, admin: bool = False) -> Any:
    return SimpleNamespace(name=name, ipv4=IPv4Address("10.51.0.0") + number, role=role, admin=admin)


def written(limits: WriteLimits, clock: Clock, who: Any, seconds: int) -> int:
    """How many changes a member that tries twice a second makes in that time."""
    done = 0
    for _ in range(2 * seconds):
        with contextlib.suppress(TooManyTries):
            limits.check_change(who, RENAME)
            done += 1
        clock.now += 0.5
    return done


def test_a_peer_writes_seldom() -> None:
    clock = Clock()
    limits = WriteLimits(clock)
    peer = member("laptop-ada", 1)
    assert 30 <= written(limits, clock, peer, 60) <= 34
    other = member("laptop-bob", 2)
    limits.check_change(other, RENAME)
    assert written(limits, clock, peer, 20) <= 2
    with pytest.raises(TooManyTries, match="laptop-ada changes itself too often; nothing was changed"):
        limits.check_change(peer, RENAME)
    limits.check_change(peer, LEAVE)
    clock.now += 86_400
    assert written(limits, clock, peer, 10) == 20


def test_nodes_and_admins_write_as_they_like() -> None:
    clock = Clock()
    limits = WriteLimits(clock)
    for who in (member("laptop-ada", 1, admin=True), member("gw-berlin", 2, Role.NODE)):
        assert written(limits, clock, who, 500) == 1000


def test_strangers_ask_seldom_and_asking_again_is_free() -> None:
    clock = Clock()
    limits = WriteLimits(clock)
    for number in range(200):
        limits.check_request(None, node_pb2.Applicant(name=f"x{number}"))
    known = state_pb2.JoinRequest(name="laptop-ada")
    for _ in range(500):
        limits.check_request(known, node_pb2.Applicant(name="laptop-ada"))
    for request in (None, known):
        with pytest.raises(TooManyTries, match="too many machines ask"):
            limits.check_request(request, node_pb2.Applicant(name="laptop-bob"))
    clock.now += 21
    limits.check_request(known, node_pb2.Applicant(name="laptop-bob"))
