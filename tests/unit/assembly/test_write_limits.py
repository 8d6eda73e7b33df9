"""A peer, or strangers, can't push others' changes out of the 10,000 that are kept: they write seldom."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly.write_limits import WriteLimits
from meshd.cluster.admission import TooManyTries
from meshd.model.members import Role
from meshproto import node_pb2, state_pb2

ADA = IPv4Address("203.0.113.1")


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
        limits.check_request(ADA + number, None, node_pb2.Applicant(name=f"x{number}"))
    known = state_pb2.JoinRequest(name="laptop-ada")
    for _ in range(500):
        limits.check_request(ADA, known, node_pb2.Applicant(name="laptop-ada"))
    for request in (None, known):
        with pytest.raises(TooManyTries, match="too many machines ask to be let in"):
            limits.check_request(ADA, request, node_pb2.Applicant(name="laptop-bob"))
    clock.now += 21
    limits.check_request(ADA, known, node_pb2.Applicant(name="laptop-bob"))


@pytest.mark.parametrize("network", [False, True], ids=["one address", "an IPv6 network"])
def test_one_stranger_leaves_others_their_turn(network: bool) -> None:
    """Every two seconds for a day, under ever new names, from one address or from all of its /64."""
    clock = Clock()
    limits = WriteLimits(clock)
    let_in, others = 0, 0
    for number in range(24 * 1800):
        source = IPv6Address("2001:db8::") + number if network else ADA
        with contextlib.suppress(TooManyTries):
            limits.check_request(source, None, node_pb2.Applicant(name=f"x{number}"))
            let_in += 1
        if number % 300 == 299:  # somebody else, every ten minutes
            limits.check_request(ADA + 1 + number, None, node_pb2.Applicant(name="laptop-bob"))
            others += 1
        clock.now += 2
    assert others == 144
    assert 40 <= let_in <= 40 + 864 + 1
    with contextlib.suppress(TooManyTries):
        limits.check_request(source, None, node_pb2.Applicant(name="x"))
    with pytest.raises(TooManyTries, match=r"from 2001:db8::/64" if network else r"from 203\.0\.113\.1 "):
        limits.check_request(source, None, node_pb2.Applicant(name="x"))
