"""Which of the mesh's routes this machine must not install, because they would take over what is its own. Pure.

The machine's own networks come from `kernel_network.networks_by_interface`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshd.dataplane.desired import Address, Network


def overlapping(networks: Iterable[Network], own: Mapping[Network, str]) -> dict[Network, str]:
    """The networks that overlap one of this machine's, each with a sentence that names both prefixes."""
    found = {}
    for network in networks:
        theirs = _most_telling([one for one in own if one.version == network.version and one.overlaps(network)])
        if theirs is not None:
            where = f" on {own[theirs]}" if own[theirs] else ""
            found[network] = f"{network} overlaps {theirs}, which this machine has{where}"
    return found


def filter_routes(
    wanted: Iterable[Network],
    own: Mapping[Network, str],
    endpoints: Iterable[Address],
    accepted: frozenset[Network] = frozenset(),
    ignored: frozenset[Network] = frozenset(),
) -> tuple[frozenset[Network], dict[Network, str]]:
    """(what to install, what not with the reason).

    `accepted` allows an overlap, but not a route that holds a member's endpoint with no closer route of this machine:
    the tunnel's own packets would go into the tunnel. A default route is not for this: it has its own table.
    """
    networks = frozenset(wanted)
    addresses = sorted(endpoints, key=lambda one: (one.version, int(one)))
    refused: dict[Network, str] = {}
    overlaps = overlapping(networks, own)
    for network in networks:
        endpoint = next((one for one in addresses if one in network and not _closer(one, network, own)), None)
        if network in ignored:
            refused[network] = f"{network} is ignored on this machine"
        elif endpoint is not None:
            refused[network] = f"{network} holds {endpoint}, the endpoint of a member"
        elif network in overlaps and network not in accepted:
            refused[network] = overlaps[network]
    return networks - refused.keys(), refused


def _closer(address: Address, network: Network, own: Mapping[Network, str]) -> bool:
    """Whether one of the machine's own routes to the address goes before the mesh's."""
    return any(address in one and one.prefixlen > network.prefixlen for one in own)


def _most_telling(networks: list[Network]) -> Network | None:
    """The narrowest; a single address only when there is no network."""
    return max(
        networks,
        key=lambda one: (one.prefixlen < one.max_prefixlen, one.prefixlen, -int(one.network_address)),
        default=None,
    )
