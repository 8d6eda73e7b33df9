"""A route that a node withdraws is carried for a moment, while another node takes over, and else not."""

from __future__ import annotations

from ipaddress import ip_network

from meshd.assembly.carried_routes import LINGER, CarriedRoutes
from meshd.model.state import State
from meshproto import state_pb2

OFFICE = ip_network("203.0.113.0/24")


def offered_by(*nodes: str) -> State:
    state = State()
    for node in nodes:
        state.routes[f"{OFFICE} {node}"] = state_pb2.Route(cidr=str(OFFICE), node_id=node, masquerade=True)
    return state


def test_it_is_carried_until_all_have_heard() -> None:
    asked: list[float] = []
    carried = CarriedRoutes(asked.append)
    assert carried.of(offered_by("paris", "berlin"), "paris", 10.0) == {OFFICE: True}
    assert carried.of(offered_by("berlin"), "paris", 20.0) == {OFFICE: True}
    assert carried.of(offered_by("berlin"), "paris", 20.0 + LINGER / 2) == {OFFICE: True}
    assert carried.of(offered_by("berlin"), "paris", 20.0 + asked[0]) == {}
    assert len(asked) == 1


def test_nobody_else_offers_it() -> None:
    carried = CarriedRoutes(lambda _: None)
    carried.of(offered_by("paris"), "paris", 10.0)
    assert carried.of(offered_by(), "paris", 10.1) == {}
    assert carried.of(offered_by("berlin"), "paris", 10.2) == {}


def test_a_mesh_of_slow_links_hears_later() -> None:
    carried, state = CarriedRoutes(lambda _: None), offered_by("berlin")
    state.settings.election_timeout_ms = 4000
    carried.of(offered_by("paris", "berlin"), "paris", 10.0)
    assert carried.of(state, "paris", 20.0) == {OFFICE: True}
    assert carried.of(state, "paris", 20.0 + 3 * LINGER) == {OFFICE: True}
    assert carried.of(state, "paris", 20.0 + 4 * LINGER) == {}


def test_it_is_offered_again() -> None:
    carried = CarriedRoutes(lambda _: None)
    carried.of(offered_by("paris", "berlin"), "paris", 10.0)
    carried.of(offered_by("berlin"), "paris", 11.0)
    assert carried.of(offered_by("paris", "berlin"), "paris", 11.5) == {OFFICE: True}
    assert carried.of(offered_by("paris", "berlin"), "paris", 11.5 + 2 * LINGER) == {OFFICE: True}
