"""What can be done to the host's network, as values. `difference` makes them, `apply` executes them.

`describe()` says for people what was not as planned, for events such as "repaired: route 10.12.0.0/16 was missing".
"""

from __future__ import annotations

from dataclasses import dataclass

from meshd.dataplane.desired import DesiredRoute, Interface
from meshd.dataplane.wireguard.backend import DeviceChange


@dataclass(frozen=True, slots=True)
class MakeInterface:
    """The WireGuard interface itself, by the backend."""

    interface: str

    def describe(self) -> str:
        return f"interface {self.interface} was missing"


@dataclass(frozen=True, slots=True)
class ChangeDevice:
    """One change of WireGuard. Of the peers, `added` were missing and `removed` were too many."""

    change: DeviceChange
    added: int = 0
    removed: int = 0

    def describe(self) -> str:
        parts = []
        if self.change.private_key is not None:
            parts.append("the private key was another")
        if self.change.listen_port is not None:
            parts.append(f"the port was not {self.change.listen_port}")
        if self.change.fwmark is not None:
            parts.append(f"the mark was not {self.change.fwmark}")
        if self.added:
            parts.append(_count(self.added, "missing"))
        if self.removed:
            parts.append(_count(self.removed, "too many"))
        altered = len({one.public_key for one in self.change.peers if one.update_only})
        if altered:
            parts.append(_count(altered, "not as planned"))
        return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} peer{'' if number == 1 else 's'} {'was' if number == 1 else 'were'} {what}"


@dataclass(frozen=True, slots=True)
class SetLink:
    mtu: int

    def describe(self) -> str:
        return f"the interface was not up with MTU {self.mtu}"


@dataclass(frozen=True, slots=True)
class AddAddress:
    address: Interface

    def describe(self) -> str:
        return f"address {self.address.ip} was missing"


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    address: Interface

    def describe(self) -> str:
        return f"address {self.address.ip} was not planned"


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Fails where a route of somebody else has the same destination and metric."""

    route: DesiredRoute

    def describe(self) -> str:
        return f"route {self.route.destination} was missing"


@dataclass(frozen=True, slots=True)
class ReplaceRoute:
    """Takes the place of our route with the same destination and metric, with no moment in between."""

    route: DesiredRoute

    def describe(self) -> str:
        return f"route {self.route.destination} was not as planned"


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    route: DesiredRoute

    def describe(self) -> str:
        return f"route {self.route.destination} was not planned"


@dataclass(frozen=True, slots=True)
class SetFirewall:
    interface: str

    def describe(self) -> str:
        return f"firewall table meshd-{self.interface} was not as planned"


@dataclass(frozen=True, slots=True)
class SetSysctl:
    name: str
    value: str

    def describe(self) -> str:
        return f"sysctl {self.name.replace('/', '.')} was not {self.value}"


Operation = (
    MakeInterface
    | ChangeDevice
    | SetLink
    | AddAddress
    | RemoveAddress
    | AddRoute
    | ReplaceRoute
    | RemoveRoute
    | SetFirewall
    | SetSysctl
)
