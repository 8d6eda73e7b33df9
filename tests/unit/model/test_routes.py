"""Routes: what may be offered, and which node carries one."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.changes.routes import choose_routes, parse_route
from meshd.model.errors import Conflict, InvalidInput, NotFound
from meshproto import node_pb2


def offer(mesh: Any, cidr: str, node: str = "gw-a") -> None:
    mesh.do(add_route=node_pb2.AddRoute(cidr=cidr, node_id=mesh.state.find_member(node).id))


@pytest.mark.parametrize("cidr", ["10.11.7.0/24", "10.0.0.0/8", "10.51.0.0/17", "10.12.0.0/24"])
def test_a_route_over_the_meshs_own_addresses_is_refused(mesh: Any, cidr: str) -> None:
    mesh.node("gw-b")
    with pytest.raises(Conflict):
        offer(mesh, cidr)


def test_a_route_over_the_meshs_ipv6_prefixes_is_refused(mesh: Any) -> None:
    for prefix in (mesh.state.settings.ula_prefix, mesh.state.settings.transport_prefix, "fc00::/7"):
        with pytest.raises(Conflict):
            offer(mesh, prefix)


@pytest.mark.parametrize(
    "cidr",
    ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "127.0.0.0/8", "224.1.0.0/16", "fe80::/10", "::ffff:0:0/96",
     "x", "203.0.113.0/33", "fe80::1%eth0/64", ""],
)  # fmt: skip
def test_what_can_not_be_routed_is_refused(mesh: Any, cidr: str) -> None:
    with pytest.raises(InvalidInput):
        offer(mesh, cidr)


def test_host_bits_are_refused_with_the_network_that_was_meant(mesh: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        offer(mesh, "203.0.113.7/24")
    assert "203.0.113.0/24" in caught.value.fix


def test_one_prefix_by_two_nodes_is_allowed_and_twice_by_one_is_not(mesh: Any) -> None:
    mesh.node("gw-b")
    offer(mesh, "203.0.113.0/24")
    offer(mesh, "203.0.113.0/24", "gw-b")
    offer(mesh, "203.0.113.0/25")
    with pytest.raises(Conflict):
        offer(mesh, "203.0.113.0/24")
    assert len(mesh.state.routes) == 3


def test_only_nodes_offer_and_only_what_is_offered_is_removed(mesh: Any) -> None:
    mesh.peer("laptop-ada")
    with pytest.raises(NotFound):
        offer(mesh, "203.0.113.0/24", "laptop-ada")
    with pytest.raises(NotFound):
        mesh.do(remove_route=node_pb2.RemoveRoute(cidr="203.0.113.0/24", node_id=mesh.state.primary_id))


def test_a_node_that_joins_later_gets_no_subnet_that_a_route_overlaps(mesh: Any) -> None:
    offer(mesh, "10.12.3.0/24")
    node = mesh.node("gw-b")
    assert str(mesh.state.parsed[node].subnet) == "10.13.0.0/16"


def test_a_route_is_kept_until_its_node_fails(mesh: Any) -> None:
    first, second = mesh.state.primary_id, mesh.node("gw-b")
    network = ip_network("203.0.113.0/24")
    offer(mesh, str(network))
    offer(mesh, str(network), "gw-b")
    both = frozenset({first, second})
    assert choose_routes(mesh.state, both, {}) == {network: first}
    assert choose_routes(mesh.state, frozenset({second}), {network: first}) == {network: second}
    assert choose_routes(mesh.state, both, {network: second}) == {network: second}
    assert choose_routes(mesh.state, frozenset({first}), {network: second}) == {network: first}


@given(st.text(max_size=60))
def test_any_text_is_a_network_or_refused(text: str) -> None:
    try:
        network = parse_route(text)
    except InvalidInput:
        return
    assert str(network) == str(ip_network(str(network)))
