"""Pools, and that no two members ever share or overlap."""

from __future__ import annotations

import time
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meshd.model.addresses import (
    Pools,
    check_local,
    check_transport,
    fnv1a,
    interface_id,
    make_pools,
    next_node_subnet,
    next_peer_address,
    next_temporary_addresses,
    transport_network,
    transport_through,
)
from meshd.model.errors import Conflict, Exhausted, InvalidInput, MeshError
from meshd.model.members import Member, Role
from meshd.model.state import State
from meshproto import node_pb2, state_pb2
from meshproto.keys import PublicKey

MESH_ID = "00000000-0000-4000-8000-000000000001"


def pools(**wishes: Any) -> Pools:
    asked = {"node_pool": "", "node_prefix": 0, "peer_pool": "", "network": "", "addressing": ""} | wishes
    return make_pools(MESH_ID, **asked)


def member(number: int, ipv4: IPv4Address, subnet: IPv4Network | None = None) -> Member:
    key = PublicKey(number.to_bytes(32, "big"))
    role = Role.NODE if subnet else Role.PEER
    return Member(str(number), f"m{number}", role, key, ipv4, IPv6Network("fd00::/64")[number + 1], None, subnet)


def with_nodes(chosen: Pools, count: int) -> State:
    parsed: dict[str, Member] = {}
    for number in range(count):
        subnet = next_node_subnet(State(parsed=parsed), chosen)
        parsed[str(number)] = member(number, subnet[1], subnet)
    return State(parsed=parsed)


def test_the_defaults_are_those_of_the_design() -> None:
    chosen = pools()
    assert (str(chosen.node_pool), chosen.node_prefix, str(chosen.peer_pool)) == ("10.11.0.0/16", 16, "10.51.0.0/16")
    assert chosen.ula.prefixlen == chosen.transport.prefixlen == 64
    assert chosen.ula != chosen.transport
    assert chosen.ula.supernet(16) == chosen.transport.supernet(16)
    assert chosen.ula.subnet_of(IPv6Network("fd00::/8"))
    assert make_pools("another", "", 0, "", "", "").ula != chosen.ula


def test_node_forty_one_skips_the_peer_pool() -> None:
    subnets = [str(node.subnet) for node in with_nodes(pools(), 42).parsed.values()]
    assert subnets[:2] == ["10.11.0.0/16", "10.12.0.0/16"]
    assert subnets[39:] == ["10.50.0.0/16", "10.52.0.0/16", "10.53.0.0/16"]


def test_the_sequence_ends_with_its_private_block() -> None:
    state = with_nodes(pools(), 244)  # 10.11 to 10.255, less the peer pool
    with pytest.raises(Exhausted) as caught:
        next_node_subnet(state, pools())
    assert "245" in str(caught.value)
    assert "244" in str(caught.value)


def test_a_subdivided_pool_ends_with_itself() -> None:
    chosen = pools(node_pool="10.20.0.0/22", node_prefix=24)
    assert [str(node.subnet) for node in with_nodes(chosen, 4).parsed.values()][-1] == "10.20.3.0/24"
    with pytest.raises(Exhausted):
        with_nodes(chosen, 5)


def test_a_network_is_split_into_a_node_half_and_a_peer_half() -> None:
    chosen = pools(network="172.20.0.0/16")
    assert (str(chosen.node_pool), str(chosen.peer_pool)) == ("172.20.0.0/17", "172.20.128.0/17")
    assert chosen.node_prefix == 24


@given(st.integers(8, 24), st.integers(0, 2**24 - 1))
def test_the_halves_of_any_network_are_usable(prefix: int, number: int) -> None:
    network = IPv4Network((0x0A000000 | number, prefix), strict=False)
    chosen = pools(network=str(network))
    assert chosen.node_pool.subnet_of(network)
    assert chosen.peer_pool.subnet_of(network)
    assert not chosen.node_pool.overlaps(chosen.peer_pool)
    assert with_nodes(chosen, 2).parsed["1"].subnet


@pytest.mark.parametrize(
    ("wishes", "kind"),
    [
        ({"node_pool": "10.51.0.0/24"}, Conflict),
        ({"peer_pool": "10.11.128.0/17"}, Conflict),
        ({"node_pool": "10.11.0.1/16"}, InvalidInput),
        ({"node_pool": "nonsense"}, InvalidInput),
        ({"node_prefix": 8}, InvalidInput),
        ({"node_prefix": 31}, InvalidInput),
        ({"peer_pool": "10.51.0.0/31"}, InvalidInput),
        ({"peer_pool": "127.0.0.0/8"}, InvalidInput),
        ({"node_pool": "0.0.0.0/0"}, InvalidInput),
        ({"network": "10.0.0.0/28"}, InvalidInput),
        ({"network": "10.0.0.0/16", "peer_pool": "10.51.0.0/16"}, InvalidInput),
        ({"addressing": "random"}, InvalidInput),
    ],
)
def test_pools_that_can_not_be_are_refused(wishes: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        pools(**wishes)


def test_overlapping_pools_are_named() -> None:
    with pytest.raises(Conflict) as caught:
        pools(peer_pool="10.11.128.0/17")
    assert "10.11.0.0/16" in str(caught.value)
    assert "10.11.128.0/17" in str(caught.value)


def test_a_local_route_that_overlaps_is_named_with_the_pool() -> None:
    check_local(pools(), [ip_network("0.0.0.0/0"), ip_network("::/0"), ip_network("192.168.1.0/24")])
    for local, pool in (("10.51.3.0/24", "10.51.0.0/16"), ("10.0.0.0/8", "10.11.0.0/16")):
        with pytest.raises(Conflict) as caught:
            check_local(pools(), [ip_network(local)])
        assert local in str(caught.value)
        assert pool in str(caught.value)
    with pytest.raises(Conflict):
        check_local(pools(), [pools().transport])


def test_the_peer_pool_holds_65_000_peers_and_the_last_ones_are_quick() -> None:
    chosen = pools()
    base = int(chosen.peer_pool.network_address)
    parsed = {str(number): member(number, IPv4Address(base + number)) for number in range(1, 65_534)}
    begin = time.monotonic()
    last = next_peer_address(State(parsed=parsed), chosen, "laptop-ada")
    assert time.monotonic() - begin < 1
    assert str(last) == "10.51.255.254"
    parsed["last"] = member(65_534, last)
    for allocate in (
        lambda: next_peer_address(State(parsed=parsed), chosen, "x"),
        lambda: next_temporary_addresses(State(parsed=parsed), chosen, 1),
    ):
        with pytest.raises(Exhausted) as caught:
            allocate()
        assert "65534" in str(caught.value)


@given(st.sets(st.integers(1, 6)), st.sampled_from(["sequential", "hash"]), st.text(max_size=9))
def test_the_address_is_free_and_inside_the_pool(taken: set[int], addressing: str, name: str) -> None:
    chosen = pools(peer_pool="10.51.0.0/29", addressing=addressing)
    state = State(parsed={str(number): member(number, chosen.peer_pool[number]) for number in taken})
    if len(taken) == 6:
        with pytest.raises(Exhausted):
            next_peer_address(state, chosen, name)
        return
    free = {chosen.peer_pool[number] for number in range(1, 7)} - {one.ipv4 for one in state.parsed.values()}
    found = next_peer_address(state, chosen, name)
    assert found in free
    if addressing == "sequential":
        assert found == min(free)
    assert next_temporary_addresses(state, chosen, 1) == [max(free)]
    several = next_temporary_addresses(state, chosen, 3)
    assert len(several) in (1, 3)
    assert set(several) <= free
    assert [int(one) - int(several[0]) for one in several] == list(range(len(several)))
    runs = {one for one in free if one + 1 in free and one + 2 in free}
    assert several == ([max(runs), max(runs) + 1, max(runs) + 2] if runs else [max(free)])


def test_fnv_1a_gives_the_published_values() -> None:
    assert f"{fnv1a(''):032x}" == "6c62272e07bb014262b821756295c58d"
    assert f"{fnv1a('a'):032x}" == "d228cb696f1a8caf78912b704e4a8964"


def test_hashed_addresses_are_the_low_bits_and_the_next_free_on_collision() -> None:
    chosen = pools(addressing="hash")
    wanted = chosen.peer_pool[fnv1a("gw-berlin") & 0xFFFF]
    assert next_peer_address(State(), chosen, "gw-berlin") == wanted
    assert next_peer_address(State(parsed={"1": member(1, wanted)}), chosen, "gw-berlin") == wanted + 1


@given(st.binary(min_size=32, max_size=32))
def test_an_interface_id_is_local_and_never_the_router_anycast(data: bytes) -> None:
    number = interface_id(PublicKey(data))
    assert 0 < number < 1 << 64
    assert not number >> 57 & 1


def test_what_an_unreadable_member_has_is_not_given_away(make_mesh: Any) -> None:
    mesh = make_mesh()
    strange = state_pb2.MemberStatement(id="x", ipv4="10.51.0.1", subnet="10.12.0.0/16", role=9)  # type: ignore[arg-type]
    message = state_pb2.Member(id="x", record=state_pb2.MemberRecord(statement=strange.SerializeToString()))
    mesh.apply(
        state_pb2.ChangeEntry(writes=[state_pb2.Write(kind="member", key="x", value=message.SerializeToString())])
    )
    assert "x" in mesh.state.problems
    peer, node = mesh.peer("laptop-ada"), mesh.node("gw-b")
    assert str(mesh.state.parsed[peer].ipv4) == "10.51.0.2"
    assert str(mesh.state.parsed[node].subnet) == "10.13.0.0/16"


STEP = st.tuples(
    st.sampled_from(["node", "peer", "invite", "redeem", "revoke", "remove", "route", "expire", "later"]),
    st.integers(0, 9),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=40), st.sampled_from(["sequential", "hash"]), st.booleans())
def test_no_two_members_ever_share_or_overlap(
    make_mesh: Any, steps: list[tuple[str, int]], addressing: str, small: bool
) -> None:
    wishes = {"network": "10.9.0.0/24"} if small else {}
    mesh = make_mesh(addressing=addressing, **wishes)
    for what, number in steps:
        members, invites = sorted(mesh.state.members), sorted(mesh.state.invites)
        pick = members[number % len(members)]
        with suppress(MeshError):
            match what:
                case "node":
                    mesh.node(f"gw-{number}")
                case "peer":
                    mesh.peer(f"laptop-{number}")
                case "invite":
                    mesh.invite(uses=1 + number % 3, lifetime_ms=60_000)
                case "redeem" if invites:
                    mesh.redeem(invites[number % len(invites)], f"laptop-{number}")
                case "revoke" if invites:
                    mesh.do(revoke_invite=node_pb2.RevokeInvite(id=invites[number % len(invites)]))
                case "remove" if len(members) > 1:
                    mesh.do(remove_member=node_pb2.RemoveMember(id=pick))
                case "route":
                    route = node_pb2.AddRoute(cidr=f"10.{number + 10}.4.0/24", node_id=pick)
                    mesh.do(add_route=route)
                case "expire":
                    mesh.expire()
                case "later":
                    mesh.now_ms += number * 120_000
        check(mesh)


def test_transport_addresses_that_would_be_anothers_are_refused(mesh: Any) -> None:
    first = mesh.state.find_member("gw-a").transport
    same_end = IPv6Address(int(first) ^ 1 << 41)
    same_start = IPv6Address(int(first) ^ 1)
    for role, transport in ((Role.PEER, same_end), (Role.NODE, same_end), (Role.NODE, same_start)):
        with pytest.raises(Conflict, match="gw-a"):
            check_transport(mesh.state, role, transport)
    check_transport(mesh.state, Role.PEER, same_start)
    check_transport(mesh.state, Role.NODE, IPv6Address(int(first) ^ 1 ^ 1 << 41))


def check(mesh: Any) -> None:
    state, chosen = mesh.state, Pools.from_settings(mesh.state.settings)
    assert not state.problems
    members = list(state.parsed.values())
    invites = [one for one in state.invites.values() if one.temporary_ipv4]
    ipv4 = [one.ipv4 for one in members]
    ipv4 += [
        IPv4Address(one.temporary_ipv4) + number
        for one in invites
        for number in range(1 + len(one.further_public_keys))
    ]
    assert len(set(ipv4)) == len(ipv4)
    assert len({one.name for one in members}) == len(members)
    ipv6 = [str(one.ipv6) for one in members] + [one.temporary_ipv6 for one in invites]
    assert len(set(ipv6)) == len(ipv6)
    nodes = [one for one in members if one.role is Role.NODE]
    ways = {transport_through(node.transport, one.transport) for node in nodes for one in members}
    assert len(ways) == len(nodes) * len(members)
    for node in nodes:
        assert transport_through(node.transport, node.transport) == node.transport
        inside = transport_network(node.transport)
        assert inside.subnet_of(chosen.transport)
        assert {way for way in ways if way in inside} == {
            transport_through(node.transport, one.transport) for one in members
        }
    for one in members:
        assert one.ipv6 in chosen.ula
        assert one.transport in chosen.transport
        assert (one.subnet is not None) == (one.role is Role.NODE)
        if not one.subnet:
            assert one.ipv4 in chosen.peer_pool
            assert one.ipv4 not in (chosen.peer_pool[0], chosen.peer_pool[-1])
    networks = [one.subnet for one in members if one.subnet] + [chosen.peer_pool]
    routes = [ip_network(route.cidr) for route in state.routes.values()]
    for at, network in enumerate(networks):
        for other in [*networks[at + 1 :], *routes]:
            assert not network.overlaps(other)
    again = State.from_view(state.to_view())
    assert again.parsed == state.parsed
    assert again.routes == state.routes
    assert again.invites == state.invites
