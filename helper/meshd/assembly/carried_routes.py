"""Networks behind this node that it lets members through to."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

from meshd.dataplane.desired import Network
from meshd.model.state import State

LINGER = 2.0
"""Seconds, or election time-outs where these are longer, for which it carries a route that it offers no longer and
another node does: members send their packets to it until they have heard."""


class CarriedRoutes:
    """`later(seconds)` has somebody ask again."""

    def __init__(self, later: Callable[[float], None]) -> None:
        self._later = later
        self._offered: dict[Network, bool] = {}
        self._lingering: dict[Network, tuple[bool, float]] = {}

    def of(self, state: State, node_id: str, now: float) -> dict[Network, bool]:
        """With whether each is masqueraded. `now`: seconds of CLOCK_BOOTTIME."""
        own = {ip_network(one.cidr): one.masquerade for one in state.routes.values() if one.node_id == node_id}
        elsewhere = {ip_network(one.cidr) for one in state.routes.values() if one.node_id != node_id}
        seconds = LINGER * max(1.0, state.settings.election_timeout_ms / 1000)
        for network, masquerade in self._offered.items():
            if network not in own and network in elsewhere:
                self._lingering[network] = masquerade, now + seconds
                self._later(seconds + 0.05)
        self._offered = own
        self._lingering = {
            network: (masquerade, until)
            for network, (masquerade, until) in self._lingering.items()
            if network in elsewhere and network not in own and until > now
        }
        return {**{network: masquerade for network, (masquerade, _) in self._lingering.items()}, **own}
