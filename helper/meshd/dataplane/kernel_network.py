"""Links, addresses and routes over rtnetlink (pyroute2). Every function blocks and runs in a thread.

Routes of ours carry the routing protocol number `PROTOCOL`, so that no other program's route is ever touched.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from meshd.dataplane.desired import Address, DesiredRoute, Interface, Network, RouteKind
from meshd.dataplane.route_dump import read_routes
from meshd.model.errors import Conflict, Failed

PROTOCOL = 0x6D
"""Our number in /etc/iproute2/rt_protos terms: 'm', free there and in linux/rtnetlink.h."""

MAIN_TABLE = 254
_UNICAST, _UNREACHABLE = 1, 7  # RTN_UNICAST, RTN_UNREACHABLE, linux/rtnetlink.h
_MULTICAST = 5  # RTN_MULTICAST
_IPV6_METRIC = 1024  # IP6_RT_PRIO_USER, linux/ipv6_route.h: what the kernel makes of no metric
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_IPV6_CONF = Path("/proc/sys/net/ipv6/conf")


@contextmanager
def _netlink(what: str) -> Iterator[Any]:
    with _explained(what), IPRoute() as route:
        yield route


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Raises Failed for what the kernel refuses."""
    try:
        yield
    except NetlinkError as error:
        if error.code == errno.EPERM:
            raise Failed(
                f"{what}: not permitted", "meshd needs CAP_NET_ADMIN: run it as root or by its service"
            ) from error
        raise Failed(f"{what}: {error.args[1] if len(error.args) > 1 else error}") from error
    except OSError as error:
        raise Failed(f"{what}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """What the kernel has of one interface, and the machine's other ways out."""

    up: bool
    mtu: int
    addresses: frozenset[Interface]  # but the link-local ones that the kernel adds
    routes: frozenset[DesiredRoute]  # ours, through it; and of the `unreachable` ones those that were asked for
    uplinks: frozenset[str]


def read_interface(interface: str, unreachable: frozenset[Network]) -> InterfaceState | None:
    """All of it over one socket, since making one takes pyroute2 2 ms; None when there is no such interface."""
    with _netlink(f"reading {interface}") as route:
        try:
            index = socket.if_nametoindex(interface)
            (link,) = route.get_links(index)
        except (OSError, NetlinkError) as error:
            if isinstance(error, NetlinkError) and error.code != errno.ENODEV:
                raise
            return None
        if link.get_attr("IFLA_IFNAME") != interface:  # another one's alternative name
            return None
        addresses = [
            ip_interface(f"{_local(message)}/{message['prefixlen']}")
            for message in route.get_addr(index=index)
            if message["index"] == index
        ]
        return InterfaceState(
            bool(link["flags"] & 1),  # IFF_UP
            link.get_attr("IFLA_MTU"),
            frozenset(one for one in addresses if not one.ip.is_link_local),
            _routes(index, unreachable),
            _uplinks(_names()),
        )


def _routes(index: int, unreachable: frozenset[Network]) -> frozenset[DesiredRoute]:
    found = set()
    for one in read_routes(PROTOCOL):
        metric = 0 if one.destination.version == 6 and one.metric == _IPV6_METRIC else one.metric
        if one.kind == _UNREACHABLE and one.destination in unreachable:
            found.add(DesiredRoute(one.destination, RouteKind.UNREACHABLE, metric=metric))
        elif one.kind == _UNICAST and one.interfaces == (index,):
            found.add(DesiredRoute(one.destination, RouteKind.UNICAST, one.mtu, one.source, metric))
    return frozenset(found)


# --- links --------------------------------------------------------------------------------------------------------


def set_link(interface: str, mtu: int) -> None:
    """The kernel's WireGuard takes its port only now."""
    with _netlink(f"setting {interface} up") as route:
        try:
            route.link("set", index=_index(interface), mtu=mtu, state="up")
        except NetlinkError as error:
            if error.code != errno.EADDRINUSE:
                raise
            raise Failed("the WireGuard port is taken", "choose another one: --listen-port", "port-taken") from error


def _index(interface: str) -> int:
    try:
        index = socket.if_nametoindex(interface)
        if socket.if_indextoname(index) == interface:  # and not another one's alternative name
            return index
    except OSError:
        pass
    raise Failed(f"interface {interface} is gone", "meshd makes it again by itself")


def interface_names() -> frozenset[str]:
    return frozenset(name for _, name in socket.if_nameindex())


def has_ipv6(interface: str = "default") -> bool:
    """Whether this machine lets the interface, or a new one, have IPv6 addresses."""
    try:
        return (_IPV6_CONF / interface / "disable_ipv6").read_text().strip() == "0"
    except OSError:
        return False


# --- addresses ----------------------------------------------------------------------------------------------------


def _local(message: Any) -> str:
    return str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


def add_address(interface: str, address: Interface) -> None:
    with _netlink(f"adding {address} to {interface}") as route:
        extra = {"flags": 0x02} if address.version == 6 else {}  # IFA_F_NODAD, linux/if_addr.h: no wait before use
        fields = {"index": _index(interface), "address": str(address.ip)}
        with _expecting(errno.EEXIST):
            route.addr("add", prefixlen=address.network.prefixlen, **fields, **extra)


def remove_address(interface: str, address: Interface) -> None:
    with _netlink(f"removing {address} from {interface}") as route:
        fields = {"index": _index(interface), "address": str(address.ip)}
        with _expecting(errno.EADDRNOTAVAIL):
            route.addr("del", prefixlen=address.network.prefixlen, **fields)


@contextmanager
def _expecting(code: int) -> Iterator[None]:
    """Somebody else was quicker, and did the same."""
    try:
        yield
    except NetlinkError as error:
        if error.code != code:
            raise


def local_addresses(without: frozenset[str] = frozenset()) -> list[Address]:
    """The addresses of this machine's interfaces, but for those named."""
    with _netlink("reading the addresses") as route:
        names = _names()
        return [
            ip_address(_local(message)) for message in route.get_addr() if names.get(message["index"]) not in without
        ]


def _names() -> dict[int, str]:
    return dict(socket.if_nameindex())


# --- routes -------------------------------------------------------------------------------------------------------


def add_route(interface: str, wanted: DesiredRoute) -> None:
    """Raises Conflict when a route that is not ours has the same destination and metric."""
    with _netlink(f"adding route {wanted.destination}") as route:
        try:
            route.route("add", **_route_fields(interface, wanted))
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
            raise Conflict(
                f"route {wanted.destination} is there already and not ours",
                f"remove it (ip route del {wanted.destination}), or ignore the mesh's: routes ignore",
            ) from error


def replace_route(interface: str, wanted: DesiredRoute) -> None:
    with _netlink(f"changing route {wanted.destination}") as route:
        route.route("replace", **_route_fields(interface, wanted))


def remove_route(interface: str, wanted: DesiredRoute) -> None:
    with _netlink(f"removing route {wanted.destination}") as route, _expecting(errno.ESRCH):
        route.route("del", **_route_fields(interface, wanted))


def _route_fields(interface: str, wanted: DesiredRoute) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "dst": str(wanted.destination),
        "family": socket.AF_INET if wanted.destination.version == 4 else socket.AF_INET6,
        "table": MAIN_TABLE,
        "proto": PROTOCOL,
    }
    if wanted.kind is RouteKind.UNREACHABLE:
        fields["type"] = "unreachable"
    else:
        fields |= {"oif": _index(interface), "scope": 253 if wanted.destination.version == 4 else 0}
    if wanted.mtu:
        fields["metrics"] = {"mtu": wanted.mtu}
    if wanted.source is not None:
        fields["prefsrc"] = str(wanted.source)
    if wanted.metric:
        fields["priority"] = wanted.metric
    return fields


def remove_unreachable(networks: frozenset[Network]) -> None:
    """Removes our `unreachable` routes to these networks."""
    with _netlink("removing routes") as route:
        for one in read_routes(PROTOCOL):
            if one.kind == _UNREACHABLE and one.destination in networks:
                wanted = DesiredRoute(one.destination, RouteKind.UNREACHABLE, metric=one.metric)
                with _expecting(errno.ESRCH):
                    route.route("del", **_route_fields("", wanted))


def uplinks() -> frozenset[str]:
    """The interfaces with a default route of somebody else's."""
    with _explained("reading the routes"):
        return _uplinks(_names())


def _uplinks(names: Mapping[int, str]) -> frozenset[str]:
    indexes = {
        index
        for one in read_routes()
        if one.destination.prefixlen == 0 and one.kind == _UNICAST and one.protocol != PROTOCOL
        for index in one.interfaces
    }
    return frozenset(names[index] for index in indexes if index in names)


def networks_by_interface(without: frozenset[str] = frozenset()) -> dict[Network, str]:
    """Networks that this machine's own routes and addresses hold, with the interface ("" for none).

    Not ours, not a default route, not link-local or multicast, not through the interfaces in `without`.
    """
    found: dict[Network, str] = {}
    with _netlink("reading the routes") as route:
        names = _names()
        for one in read_routes():
            through = [names.get(index, "") for index in one.interfaces] or [""]
            if one.protocol != PROTOCOL and one.kind != _MULTICAST and not without.issuperset(through):
                found.setdefault(one.destination, through[0])
        for message in route.get_addr():
            name = names.get(message["index"], "")
            if name not in without:
                found.setdefault(ip_network(_local(message)), name)
    return {
        network: name
        for network, name in found.items()
        if network.prefixlen and not (network.is_link_local or network.is_multicast or network.is_loopback)
    }


def local_networks(without: frozenset[str] = frozenset()) -> frozenset[Network]:
    """The networks of `networks_by_interface`."""
    return frozenset(networks_by_interface(without))
