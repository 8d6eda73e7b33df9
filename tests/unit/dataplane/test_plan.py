"""What a machine's WireGuard is planned to be, by role and by how members are reached."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from meshd.dataplane.desired import DesiredPeer, network, network_of
from meshd.dataplane.plan import KEEPALIVE, Situation, TemporaryPeer, plan
from meshd.model.members import Member, Role
from meshproto.keys import PrivateKey, PublicKey

PEER_POOL, ULA, TRANSPORT = IPv4Network("10.51.0.0/16"), IPv6Network("fd00:1::/64"), IPv6Network("fd00:2::/64")


def member(number: int, role: Role = Role.PEER, **fields: Any) -> Member:
    node = role is Role.NODE
    return Member(
        **{
            "id": f"{number:08}",
            "name": f"m{number}",
            "role": role,
            "public_key": PublicKey(number.to_bytes(32, "big")),
            "ipv4": IPv4Address(f"10.{10 + number}.0.1") if node else IPv4Address(f"10.51.0.{number}"),
            "ipv6": ULA[number],
            "transport": TRANSPORT[number],
            "subnet": IPv4Network(f"10.{10 + number}.0.0/16") if node else None,
            "admin": False,
            "certificate_sha256": b"",
            "endpoints": (),
            "listen_port": 10100,
            "enabled": True,
            "joined_ms": number,
            **fields,
        }
    )


BERLIN, PARIS = member(1, Role.NODE), member(2, Role.NODE)
ADA, BOB = member(11), member(12)


def situation(me: Member, *others: Member, **fields: Any) -> Situation:
    members = {one.id: one for one in (me, *others)}
    return Situation(
        self_id=me.id,
        private_key=PrivateKey.from_random(bytes(range(32))),
        interface="home",
        listen_port=10100,
        mtu=1420,
        members=members,
        peer_pool=PEER_POOL,
        ula=ULA,
        transport=TRANSPORT,
        **fields,
    )


def own(one: Member) -> set[Any]:
    return {ip_network(address) for address in (one.ipv4, one.ipv6, one.transport) if address is not None}


def test_each_member_has_its_own_addresses_and_a_node_its_subnet() -> None:
    peers = plan(situation(ADA, BERLIN, BOB)).peers
    assert peers[BERLIN.public_key] == DesiredPeer(
        BERLIN.public_key, frozenset(own(BERLIN) | {BERLIN.subnet}), None, KEEPALIVE
    )
    assert peers[BOB.public_key] == DesiredPeer(BOB.public_key, frozenset(own(BOB)))


def test_a_relay_carries_the_transport_address_and_nothing_else() -> None:
    peers = plan(situation(ADA, BERLIN, BOB, relays={BOB.id: BERLIN.id})).peers
    transport = ip_network(BOB.transport)
    assert transport in peers[BERLIN.public_key].allowed_ips
    assert peers[BOB.public_key].allowed_ips == own(BOB) - {transport}


def test_a_transport_address_whose_relay_is_gone_is_nowhere() -> None:
    peers = plan(situation(ADA, BERLIN, BOB, relays={BOB.id: PARIS.id})).peers
    assert all(ip_network(BOB.transport) not in one.allowed_ips for one in peers.values())


def test_a_disabled_member_is_in_it_for_nobody() -> None:
    away = member(12, enabled=False)
    assert away.public_key not in plan(situation(BERLIN, ADA, away)).peers
    assert plan(situation(away, BERLIN, ADA)).peers == {}


def test_routes_and_open_invites() -> None:
    route, key = ip_network("203.0.113.0/24"), PublicKey(b"t" * 32)
    temporary = (TemporaryPeer(key, IPv4Address("10.51.255.9"), ULA[0xFFFF]),)
    peers = plan(situation(BERLIN, PARIS, ADA, routes={route: PARIS.id}, temporary=temporary)).peers
    assert route in peers[PARIS.public_key].allowed_ips
    assert peers[key].allowed_ips == {network("10.51.255.9/32"), network_of(ULA[0xFFFF])}
    assert key not in plan(situation(ADA, BERLIN, temporary=temporary)).peers


@given(st.ip_addresses())
def test_a_network_of_one_address_is_the_one_that_is_read_back(address: IPv4Address | IPv6Address) -> None:
    assert network_of(address) == ip_network(address)
    assert network_of(address) is network(f"{address}/{address.max_prefixlen}")


@given(st.lists(st.sampled_from([0, 1, 2]), min_size=12, max_size=12))
def test_every_transport_address_has_one_owner_at_most(relayed: list[int]) -> None:
    others = [member(number) for number in range(20, 32)]
    relays = {
        one.id: (BERLIN.id, PARIS.id)[way - 1] for one, way in zip(others, relayed, strict=True) if way
    }  # fmt: skip
    peers = plan(situation(ADA, BERLIN, PARIS, *others, relays=relays)).peers
    for one in others:
        owners = [key for key, peer in peers.items() if ip_network(one.transport) in peer.allowed_ips]
        carrier = next(node for node in (BERLIN, PARIS, one) if node.id == relays.get(one.id, one.id))
        assert owners == [carrier.public_key]
