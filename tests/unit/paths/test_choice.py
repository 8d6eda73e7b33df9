from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from meshd.model.members import Member, Role
from meshd.paths.choice import Sight, Way, choose_ways
from meshproto.keys import PublicKey


def member(name: str, role: Role, number: int) -> Member:
    return Member(
        id=name,
        joined_ms=number,
        name=name,
        role=role,
        public_key=PublicKey(bytes([number] * 32)),
        ipv4=IPv4Address(f"10.51.0.{number}"),
        ipv6=IPv6Address(f"fd00::{number}"),
        transport=IPv6Address(f"fd01::{number}"),
        subnet=None,
    )


NODES = [member(name, Role.NODE, number) for number, name in enumerate(("gw-a", "gw-b", "gw-c"), 1)]
ADA, GRACE = member("laptop-ada", Role.PEER, 11), member("laptop-grace", Role.PEER, 12)
MEMBERS: Mapping[str, Member] = {one.id: one for one in (*NODES, ADA, GRACE)}
HEARD, QUIET = Sight(True, False, frozenset()), Sight(False, False, frozenset())


def ways(me: Member, attached: Mapping[str, set[str]], near: set[str], **sights: Sight) -> dict[str, Way]:
    seen = {one.id: Sight(one.id in near, False, frozenset(attached.get(one.id, ()))) for one in MEMBERS.values()}
    seen.update({key.replace("_", "-"): sight for key, sight in sights.items()})
    return choose_ways(me, MEMBERS, seen)


def test_two_peers_use_the_oldest_node_that_both_are_attached_to() -> None:
    attached = {ADA.id: {"gw-a", "gw-b", "gw-c"}, GRACE.id: {"gw-b", "gw-c"}}
    way = ways(ADA, attached, near={"gw-a", "gw-b", "gw-c"})[GRACE.id]
    assert (way.relay, way.direct) == ("gw-b", False)
    assert way.reason


def test_a_relay_is_kept_while_it_reaches_both_ends() -> None:
    attached = {ADA.id: {"gw-a", "gw-b", "gw-c"}, GRACE.id: {"gw-a", "gw-b", "gw-c"}}
    kept = Sight(False, False, frozenset(attached[GRACE.id]), relay="gw-c")
    assert ways(ADA, attached, near={"gw-a", "gw-b", "gw-c"}, laptop_grace=kept)[GRACE.id].relay == "gw-c"
    assert ways(ADA, attached, near={"gw-a", "gw-b"}, laptop_grace=kept)[GRACE.id].relay == "gw-a"


def test_a_relay_that_is_leaving_carries_nothing_new() -> None:
    both = frozenset({"gw-a", "gw-b"})
    sights = {one.id: Sight(True, False, both, relay="gw-a") for one in MEMBERS.values()}
    assert choose_ways(ADA, MEMBERS, sights, frozenset({"gw-a"}))[GRACE.id].relay == "gw-b"


def test_a_relay_is_heard_by_this_machine_itself() -> None:
    attached = {ADA.id: {"gw-b", "gw-c"}, GRACE.id: {"gw-b", "gw-c"}}
    assert ways(ADA, attached, near={"gw-c"})[GRACE.id].relay == "gw-c"


def test_without_a_shared_node_the_reason_is_told() -> None:
    way = ways(ADA, {ADA.id: {"gw-a"}, GRACE.id: {"gw-b"}}, near={"gw-a"})[GRACE.id]
    assert way == Way(None, "no node reaches both ends")


def test_a_straight_session_keeps_its_relay_for_the_way_back() -> None:
    both = {"gw-a"}
    sight = Sight(True, False, frozenset(both), straight=True)
    way = ways(ADA, {ADA.id: both, GRACE.id: both}, near=both, laptop_grace=sight)[GRACE.id]
    assert way == Way("gw-a", "", direct=True)


def test_a_straight_session_that_died_is_relayed_again() -> None:
    both = {"gw-a"}
    sight = Sight(False, True, frozenset(both), straight=True)
    way = ways(ADA, {ADA.id: both, GRACE.id: both}, near=both, laptop_grace=sight)[GRACE.id]
    assert (way.relay, way.direct) == ("gw-a", False)


def test_a_node_is_straight_until_it_is_known_to_be_dead() -> None:
    assert ways(ADA, {}, near=set())["gw-a"] == Way(None, "", direct=True)
    dead = Sight(False, True, frozenset({"gw-b"}))
    way = ways(ADA, {ADA.id: {"gw-b"}}, near={"gw-b"}, gw_a=dead)["gw-a"]
    assert (way.relay, way.direct) == ("gw-b", False)


def test_a_device_has_no_way_of_its_own() -> None:
    device = replace(GRACE, role=Role.DEVICE)
    assert choose_ways(ADA, {ADA.id: ADA, GRACE.id: device}, {ADA.id: QUIET, GRACE.id: QUIET}) == {}


nodes = st.sets(st.sampled_from([node.id for node in NODES]))


@given(nodes, nodes)
def test_both_ends_begin_with_the_same_relay(ada: set[str], grace: set[str]) -> None:
    """Where each end hears the nodes that say they reach it."""
    attached = {ADA.id: ada, GRACE.id: grace}
    there = ways(ADA, attached, near=ada)[GRACE.id].relay
    back = ways(GRACE, attached, near=grace)[ADA.id].relay
    assert there == back
    assert (there is None) == (not ada & grace)


@given(nodes, nodes, st.sampled_from([None, *(node.id for node in NODES)]))
def test_a_relay_is_heard_here_and_reaches_the_other_end(near: set[str], grace: set[str], now: str | None) -> None:
    """Also before the nodes told where this machine itself is attached."""
    sight = Sight(False, False, frozenset(grace), relay=now)
    relay = ways(ADA, {}, near=near, laptop_grace=sight)[GRACE.id].relay
    shared = near & grace
    assert relay in shared or not shared
    assert relay == now or now not in shared
