"""Routes that nodes offer to the mesh, and which of several nodes carries one."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from ipaddress import ip_network

from meshproto import networks, state_pb2
from meshproto.format_error import FormatError
from meshproto.networks import Network

from meshd.model.addresses import Pools
from meshd.model.changes.context import Draft
from meshd.model.errors import Conflict, InvalidInput, NotFound
from meshd.model.members import Role
from meshd.model.state import State, route_key


def parse_route(text: str) -> Network:
    """Raises InvalidInput that says what was meant."""
    try:
        return networks.parse_route(text)
    except FormatError as error:
        raise InvalidInput(error.message, error.fix) from None


def add_route(draft: Draft) -> None:
    asked = draft.change.add_route
    network = parse_route(asked.cidr)
    node = draft.state.parsed.get(asked.node_id)
    if node is None or node.role is not Role.NODE:
        raise NotFound("the node that shall offer the route is no node of the mesh", "see `meshctl nodes list`")
    pools = Pools.from_settings(draft.state.settings)
    own = [*pools.networks, *(member.subnet for member in draft.state.nodes if member.subnet)]
    for ours in own:
        if ours.version == network.version and ours.overlaps(network):
            raise Conflict(f"{network} overlaps {ours}, which are addresses of {draft.state.settings.name} itself")
    key = route_key(str(network), node.id)
    if key in draft.state.routes:
        raise Conflict(f"{node.name} offers {network} already")
    route = state_pb2.Route(
        cidr=str(network),
        node_id=node.id,
        masquerade=asked.masquerade,
        created_ms=draft.context.now_ms,
        created_by=draft.change.actor,
    )
    draft.put("route", key, route)
    draft.subject_id = node.id
    draft.summary = f"{node.name} offers {network}"


def remove_route(draft: Draft) -> None:
    asked = draft.change.remove_route
    try:
        network = networks.parse_network(asked.cidr)
    except FormatError as error:
        raise InvalidInput(error.message, error.fix) from None
    key = route_key(str(network), asked.node_id)
    if key not in draft.state.routes:
        node = draft.state.parsed.get(asked.node_id)
        raise NotFound(f"{node.name if node else 'that node'} offers no route {network}", "see `meshctl routes list`")
    draft.delete("route", key)
    draft.subject_id = asked.node_id
    name = draft.state.parsed[asked.node_id].name if asked.node_id in draft.state.parsed else asked.node_id
    draft.summary = f"{name} no longer offers {network}"


def choose_routes(state: State, online: AbstractSet[str], previous: Mapping[Network, str]) -> dict[Network, str]:
    """The node that carries each route: the one that did, while it is online or nobody else is; else the oldest online
    one; else the oldest, which carries it as soon as it is back."""
    offers: dict[Network, list[str]] = {}
    age = {member.id: number for number, member in enumerate(state.nodes)}
    for route in state.routes.values():
        if route.node_id in age:
            offers.setdefault(ip_network(route.cidr), []).append(route.node_id)
    chosen = {}
    for network, nodes in offers.items():
        alive = [node for node in nodes if node in online]
        before = previous.get(network)
        kept = before in (alive or nodes)
        chosen[network] = before if before and kept else min(alive or nodes, key=lambda node: age[node])
    return chosen
