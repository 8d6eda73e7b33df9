"""What every member plans of one mesh: who may send from where, and that the two ends fit together."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.dataplane.desired import Desired, DesiredPeer, network, network_of
from meshd.dataplane.plan import KEEPALIVE, Situation, TemporaryPeer, plan
from meshd.model.addresses import ipv6_addresses, make_pools, transport_network, transport_through
from meshd.model.members import Member, Role
from meshproto.keys import PrivateKey, PublicKey

POOLS = make_pools("00000000-0000-4000-8000-000000000001", "", 0, "", "", "")


def member(number: int, role: Role) -> Member:
    key = PrivateKey.from_random(bytes([number] * 32)).public
    ipv6, transport = ipv6_addresses(POOLS, key)
    subnet = POOLS.node_pool.supernet(8).subnets(new_prefix=16) if role is Role.NODE else None
    own = list(subnet)[10 + number] if subnet else None
    ipv4 = own[1] if own else POOLS.peer_pool[number]
    return Member(str(number), f"m{number}", role, key, ipv4, ipv6, transport, own)


NODES = [member(number, Role.NODE) for number in (1, 2, 3)]
PEERS = [member(number, Role.PEER) for number in (11, 12)]
MEMBERS = {one.id: one for one in (*NODES, *PEERS)}


def desired(me: Member, members: dict[str, Member] = MEMBERS, **fields: object) -> Desired:
    situation = Situation(
        self_id=me.id,
        private_key=PrivateKey.from_random(bytes(range(32))),
        interface="home",
        listen_port=10100,
        mtu=1420,
        members=members,
        peer_pool=POOLS.peer_pool,
        ula=POOLS.ula,
        transport=POOLS.transport,
    )
    return plan(replace(situation, **fields))  # type: ignore[arg-type]  # field names of Situation


@pytest.mark.parametrize("me", MEMBERS.values(), ids=lambda one: f"{one.role.value} {one.id}")
def test_no_two_peers_have_an_allowed_ip_in_common(me: Member) -> None:
    peers = list(desired(me).peers.values())
    assert len(peers) == len(MEMBERS) - 1
    for number, one in enumerate(peers):
        for other in peers[number + 1 :]:
            for own in one.allowed_ips:
                assert not any(own.version == two.version and own.overlaps(two) for two in other.allowed_ips)  # type: ignore[arg-type]


@pytest.mark.parametrize("me", MEMBERS.values(), ids=lambda one: f"{one.role.value} {one.id}")
def test_every_route_leaves_from_an_address_of_the_machine(me: Member) -> None:
    wanted = desired(me)
    own = {one.ip for one in wanted.addresses}
    assert {route.source for route in wanted.routes if route.source} <= own
    assert own == {one for one in wanted.firewall.own_addresses}


def test_each_node_is_a_way_between_two_peers_at_any_time() -> None:
    """Nothing but the endpoint of their session says through which node it goes."""
    ada, grace = PEERS
    for node in NODES:
        assert ada.transport
        assert grace.transport
        assert node.transport
        source, target = (
            transport_through(node.transport, ada.transport),
            transport_through(node.transport, grace.transport),
        )
        at_ada, at_node, at_grace = desired(ada), desired(node), desired(grace)
        assert ip_interface(source) in at_ada.addresses
        assert allows(at_ada, node, target)
        assert allows(at_node, ada, source)
        assert allows(at_node, grace, target)
        assert allows(at_grace, node, source)
        route = next(one for one in at_ada.routes if one.destination == transport_network(node.transport))
        assert route.source == source


def allows(wanted: Desired, peer: Member, address: IPv6Address) -> bool:
    return any(
        network_of(address).subnet_of(one) for one in wanted.peers[peer.public_key].allowed_ips if one.version == 6
    )  # type: ignore[arg-type]


def test_without_ipv6_there_is_no_transport() -> None:
    wanted = desired(PEERS[0], ipv6=False)
    assert {one.version for one in wanted.addresses} == {4}
    assert {route.destination.version for route in wanted.routes} == {4}


def test_who_is_disabled_is_in_nobodys_plan_and_keeps_the_nodes_to_hear_when_it_is_enabled_again() -> None:
    ada, grace = PEERS
    members = MEMBERS | {ada.id: replace(ada, enabled=False)}
    assert ada.public_key not in desired(grace, members).peers
    assert ada.public_key not in desired(NODES[0], members).peers
    assert desired(ada, members).peers.keys() == {node.public_key for node in NODES}


def test_each_member_has_its_own_addresses_and_a_node_its_subnet_and_its_ways() -> None:
    ada, bob = PEERS
    peers = desired(ada).peers
    for node in NODES:
        own = {network_of(node.ipv4), network_of(node.ipv6), node.subnet, transport_network(node.transport)}  # type: ignore[arg-type]
        assert peers[node.public_key] == DesiredPeer(node.public_key, frozenset(own), None, KEEPALIVE)  # type: ignore[arg-type]
    assert peers[bob.public_key] == DesiredPeer(bob.public_key, frozenset({network_of(bob.ipv4), network_of(bob.ipv6)}))


def test_routes_and_open_invites() -> None:
    route, key, address = ip_network("203.0.113.0/24"), PublicKey(b"t" * 32), POOLS.ula[0xFFFF]
    temporary = (TemporaryPeer(key, IPv4Address("10.51.255.9"), address),)
    peers = desired(NODES[0], routes={route: NODES[1].id}, temporary=temporary).peers
    assert route in peers[NODES[1].public_key].allowed_ips
    assert peers[key].allowed_ips == {network("10.51.255.9/32"), network_of(address)}
    assert key not in desired(PEERS[0], temporary=temporary).peers


@given(st.ip_addresses())
def test_a_network_of_one_address_is_the_one_that_is_read_back(address: IPv4Address | IPv6Address) -> None:
    assert network_of(address) == ip_network(address)
    assert network_of(address) is network(f"{address}/{address.max_prefixlen}")
