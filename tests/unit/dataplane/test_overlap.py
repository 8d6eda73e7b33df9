"""Routes that would take over a network of this machine, or hold a member's endpoint."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from meshd.dataplane.overlap import filter_routes, overlapping

LAN = ip_network("192.168.1.0/24")
OWN = {LAN: "eth0"}
ROUTE = ip_network("203.0.113.0/24")
ENDPOINT = ip_address("203.0.113.7")


def test_a_route_that_touches_nothing_is_installed() -> None:
    assert filter_routes([ROUTE], OWN, [ip_address("198.51.100.1")]) == (frozenset({ROUTE}), {})


def test_an_overlap_names_both_prefixes() -> None:
    wide = ip_network("192.168.0.0/16")
    assert overlapping([wide], OWN) == {wide: "192.168.0.0/16 overlaps 192.168.1.0/24, which this machine has on eth0"}
    installed, refused = filter_routes([wide], OWN, [])
    assert (installed, list(refused)) == (frozenset(), [wide])


def test_a_network_is_named_before_the_address_in_it() -> None:
    own = {LAN: "eth0", ip_network("192.168.1.7/32"): "eth0"}
    assert "overlaps 192.168.1.0/24, which" in overlapping([LAN], own)[LAN]
    alone = {ip_network("192.168.1.7/32"): "lo"}
    assert "overlaps 192.168.1.7/32, which this machine has on lo" in overlapping([LAN], alone)[LAN]


def test_a_person_may_accept_an_overlap_and_ignore_a_route() -> None:
    assert filter_routes([LAN], OWN, [], accepted=frozenset({LAN}))[0] == {LAN}
    installed, refused = filter_routes([ROUTE], OWN, [], ignored=frozenset({ROUTE}))
    assert (installed, refused) == (frozenset(), {ROUTE: "203.0.113.0/24 is ignored on this machine"})


def test_a_route_that_holds_an_endpoint_is_never_installed() -> None:
    for accepted in (frozenset(), frozenset({ROUTE})):
        installed, refused = filter_routes([ROUTE], OWN, [ENDPOINT], accepted=accepted)
        assert not installed
        assert "203.0.113.7" in refused[ROUTE]


def test_an_endpoint_with_a_closer_route_of_the_machine_is_no_obstacle() -> None:
    wide = ip_network("192.168.0.0/16")
    installed, _ = filter_routes([wide], OWN, [ip_address("192.168.1.9")], accepted=frozenset({wide}))
    assert installed == {wide}


networks = st.builds(
    lambda number, length: ip_network((number << 24 | 0x00800000, length), strict=False),
    st.integers(0, 3),
    st.integers(4, 32),
)


@given(st.frozensets(networks), st.dictionaries(networks, st.just("eth0")))
def test_overlaps_are_those_that_share_an_address(wanted: frozenset, own: dict) -> None:  # type: ignore[type-arg]
    slow = {
        one
        for one in wanted
        if any(
            one.network_address <= other.broadcast_address and other.network_address <= one.broadcast_address
            for other in own
        )
    }
    assert set(overlapping(wanted, own)) == slow
