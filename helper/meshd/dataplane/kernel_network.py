"""Links, addresses and routes over rtnetlink (pyroute2). Every function blocks and runs in a thread.

Routes of ours carry the routing protocol number `PROTOCOL`, so that no other program's route is ever touched.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from meshd.dataplane.desired import Address, DesiredRoute, Interface, Network, RouteKind
from meshd.model.errors import Failed

PROTOCOL = 0x6D
"""Our number in /etc/iproute2/rt_protos terms: 'm', free there and in linux/rtnetlink.h."""

MAIN_TABLE = 254
_UNICAST, _UNREACHABLE = 1, 7  # RTN_UNICAST, RTN_UNREACHABLE, linux/rtnetlink.h
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


@contextmanager
def _netlink(what: str) -> Iterator[Any]:
    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        if error.code == errno.EPERM:
            raise Failed(
                f"{what}: not permitted", "meshd needs CAP_NET_ADMIN: run it as root or by its service"
            ) from error
        raise Failed(f"{what}: {error.args[1] if len(error.args) > 1 else error}") from error


def link_state(interface: str) -> tuple[int, bool, int] | None:
    """(index, up, MTU) of a link, None when there is none."""
    with _netlink(f"reading {interface}") as route:
        found = route.link_lookup(ifname=interface)
        if not found:
            return None
        link = route.get_links(found[0])[0]
        return found[0], bool(link["flags"] & 1), link.get_attr("IFLA_MTU")  # IFF_UP is 1


def set_link(interface: str, mtu: int) -> None:
    with _netlink(f"setting {interface} up") as route:
        route.link("set", index=_index(route, interface), mtu=mtu, state="up")


def _index(route: Any, interface: str) -> int:
    found = route.link_lookup(ifname=interface)
    if not found:
        raise Failed(f"interface {interface} is gone", "meshd makes it again by itself")
    return int(found[0])


def has_ipv6() -> bool:
    """Whether this machine can have IPv6 addresses on new interfaces."""
    try:
        with open("/proc/sys/net/ipv6/conf/default/disable_ipv6") as file:
            return file.read().strip() == "0"
    except OSError:
        return False


def addresses_of(interface: str) -> frozenset[Interface]:
    """Its addresses but the link-local ones that the kernel adds."""
    with _netlink(f"reading the addresses of {interface}") as route:
        index = _index(route, interface)
        found = [
            ip_interface(f"{message.get_attr('IFA_LOCAL') or message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}")
            for message in route.get_addr(index=index)
        ]
    return frozenset(one for one in found if not one.ip.is_link_local)


def add_address(interface: str, address: Interface) -> None:
    with _netlink(f"adding {address} to {interface}") as route:
        extra = {"flags": 0x02} if address.version == 6 else {}  # IFA_F_NODAD, linux/if_addr.h: no wait before use
        try:
            route.addr(
                "add",
                index=_index(route, interface),
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
                **extra,
            )
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise


def remove_address(interface: str, address: Interface) -> None:
    with _netlink(f"removing {address} from {interface}") as route:
        try:
            route.addr(
                "del", index=_index(route, interface), address=str(address.ip), prefixlen=address.network.prefixlen
            )
        except NetlinkError as error:
            if error.code != errno.EADDRNOTAVAIL:
                raise


def _destination(message: Any, family: int) -> Network:
    text = message.get_attr("RTA_DST") or ("0.0.0.0" if family == socket.AF_INET else "::")
    return ip_network(f"{text}/{message['dst_len']}")


def routes_of(interface: str, unreachable: frozenset[Network]) -> frozenset[DesiredRoute]:
    """Our routes through the interface, and those of our `unreachable` routes that are among the given networks."""
    found = set()
    with _netlink("reading the routes") as route:
        index = _index(route, interface)
        for family in _FAMILIES:
            for message in route.get_routes(family=family, table=MAIN_TABLE, proto=PROTOCOL):
                if message["proto"] != PROTOCOL:
                    continue
                destination = _destination(message, family)
                metrics = message.get_attr("RTA_METRICS")
                priority = message.get_attr("RTA_PRIORITY") or 0
                if message["type"] == _UNREACHABLE and destination in unreachable:
                    found.add(DesiredRoute(destination, RouteKind.UNREACHABLE, metric=priority))
                elif message["type"] == _UNICAST and message.get_attr("RTA_OIF") == index:
                    source = message.get_attr("RTA_PREFSRC")
                    found.add(
                        DesiredRoute(
                            destination,
                            mtu=(metrics.get_attr("RTAX_MTU") or 0) if metrics is not None else 0,
                            source=ip_address(source) if source else None,
                            metric=0 if family == socket.AF_INET6 and priority == 1024 else priority,
                        )
                    )
    return frozenset(found)


def add_route(interface: str, wanted: DesiredRoute) -> None:
    with _netlink(f"adding route {wanted.destination}") as route:
        route.route("replace", **_route_fields(route, interface, wanted))


def remove_route(interface: str, wanted: DesiredRoute) -> None:
    with _netlink(f"removing route {wanted.destination}") as route:
        try:
            route.route("del", **_route_fields(route, interface, wanted))
        except NetlinkError as error:
            if error.code != errno.ESRCH:
                raise


def remove_unreachable(networks: frozenset[Network]) -> None:
    """Removes our `unreachable` routes to these networks."""
    with _netlink("removing routes") as route:
        for family in _FAMILIES:
            for message in route.get_routes(family=family, table=MAIN_TABLE, proto=PROTOCOL):
                if message["type"] == _UNREACHABLE and _destination(message, family) in networks:
                    route.route(
                        "del",
                        dst=str(_destination(message, family)),
                        family=family,
                        table=MAIN_TABLE,
                        proto=PROTOCOL,
                        type="unreachable",
                        priority=message.get_attr("RTA_PRIORITY") or 0,
                    )


def _route_fields(route: Any, interface: str, wanted: DesiredRoute) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "dst": str(wanted.destination),
        "family": socket.AF_INET if wanted.destination.version == 4 else socket.AF_INET6,
        "table": MAIN_TABLE,
        "proto": PROTOCOL,
    }
    if wanted.kind is RouteKind.UNREACHABLE:
        fields["type"] = "unreachable"
    else:
        fields |= {"oif": _index(route, interface), "scope": 253 if wanted.destination.version == 4 else 0}
    if wanted.mtu:
        fields["metrics"] = {"mtu": wanted.mtu}
    if wanted.source is not None:
        fields["prefsrc"] = str(wanted.source)
    if wanted.metric:
        fields["priority"] = wanted.metric
    return fields


def local_networks(without: frozenset[str] = frozenset()) -> frozenset[Network]:
    """The destinations of this machine's own routes: not ours, not default, not through the interfaces in `without`."""
    found = set()
    with _netlink("reading the routes") as route:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in route.get_links()}
        for family in _FAMILIES:
            for message in route.get_routes(family=family, table=MAIN_TABLE):
                if message["proto"] == PROTOCOL or names.get(message.get_attr("RTA_OIF")) in without:
                    continue
                destination = _destination(message, family)
                if destination.prefixlen and not destination.is_link_local and not destination.is_multicast:
                    found.add(destination)
    return frozenset(found)


def local_addresses(without: frozenset[str] = frozenset()) -> list[Address]:
    """The addresses of this machine's interfaces that are up, but for those named."""
    with _netlink("reading the addresses") as route:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in route.get_links()}
        return [
            ip_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))
            for message in route.get_addr()
            if names.get(message["index"]) not in without
        ]


def interface_names() -> frozenset[str]:
    with _netlink("reading the links") as route:
        return frozenset(link.get_attr("IFLA_IFNAME") for link in route.get_links())
