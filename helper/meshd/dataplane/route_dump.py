"""Reads the routes of table main over rtnetlink, filtered by the kernel, with as little decoding as that takes.

pyroute2 decodes every attribute of every route, about 0.15 ms each: too much for a comparison every few seconds.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from meshd.dataplane.desired import Address, Network

# linux/netlink.h and linux/rtnetlink.h
_HEADER = struct.Struct("=IHHII")
_RTMSG = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=I")
_REQUEST_DUMP = 0x1 | 0x300
_INTERRUPTED = 0x10
_ERROR, _DONE, _NEW_ROUTE, _GET_ROUTE = 2, 3, 24, 26
_SOL_NETLINK, _STRICT = 270, 12
_DST, _OIF, _PRIORITY, _PREFSRC, _METRICS, _MULTIPATH, _TABLE = 1, 4, 6, 7, 8, 9, 15
_MTU = 2  # RTAX_MTU
_CLONED = 0x200
_TABLE_MAIN = 254
_NOTHING = (errno.ENOENT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT)
"""No such table yet, or no such family in this kernel."""

_CHUNK = 1 << 18
_TRIES = 10


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """A route as the kernel has it. `interfaces` are indexes: several for a multipath route, none for `unreachable`."""

    destination: Network
    kind: int  # RTN_*
    protocol: int
    metric: int
    interfaces: tuple[int, ...]
    mtu: int
    source: Address | None


def read_routes(protocol: int = 0) -> list[KernelRoute]:
    """All routes of table main, or those of one routing protocol. Raises OSError. Blocks."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as one:
        one.setsockopt(_SOL_NETLINK, _STRICT, 1)
        return [
            route
            for family in (socket.AF_INET, socket.AF_INET6)
            for route in _read_family(one, family, protocol)
            if protocol in (0, route.protocol)
        ]


def _read_family(one: socket.socket, family: int, protocol: int) -> list[KernelRoute]:
    for sequence in range(1, _TRIES + 1):  # a table that changes meanwhile is read again
        request = _RTMSG.pack(family, 0, 0, 0, _TABLE_MAIN, protocol, 0, 0, 0)
        one.send(_HEADER.pack(_HEADER.size + len(request), _GET_ROUTE, _REQUEST_DUMP, sequence, 0) + request)
        found, whole = _receive(one, sequence)
        if whole:
            break
    return found


def _receive(one: socket.socket, sequence: int) -> tuple[list[KernelRoute], bool]:
    """(the routes, whether the table stayed the same meanwhile)."""
    found: list[KernelRoute] = []
    whole = True
    while True:
        data = one.recv(_CHUNK)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, flags, number, _ = _HEADER.unpack_from(data, offset)
            body = data[offset + _HEADER.size : offset + length]
            offset += max(length + 3 & ~3, _HEADER.size)
            if number != sequence:
                continue
            whole = whole and not flags & _INTERRUPTED
            if kind in (_ERROR, _DONE):
                code = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
                if code and code not in _NOTHING:
                    raise OSError(code, os.strerror(code))
                return found, whole
            if kind == _NEW_ROUTE:
                route = _decode(body)
                if route is not None:
                    found.append(route)


def _decode(body: bytes) -> KernelRoute | None:
    family, prefix, _, _, table, protocol, _, kind, flags = _RTMSG.unpack_from(body)
    values = dict(_attributes(body[_RTMSG.size :]))
    if _TABLE in values:
        table = _NUMBER.unpack(values[_TABLE])[0]
    if table != _TABLE_MAIN or flags & _CLONED:
        return None
    interfaces = [_NUMBER.unpack(values[_OIF])[0]] if _OIF in values else []
    hops = values.get(_MULTIPATH, b"")
    while len(hops) >= 8:  # struct rtnexthop
        length, _, _, index = struct.unpack_from("=HBBi", hops)
        interfaces.append(index)
        hops = hops[max(length + 3 & ~3, 8) :]
    metrics = dict(_attributes(values.get(_METRICS, b"")))
    source: Address | None = None
    destination: Network
    if family == socket.AF_INET:
        destination = IPv4Network((int.from_bytes(values.get(_DST, b""), "big"), prefix))
        source = IPv4Address(values[_PREFSRC]) if _PREFSRC in values else None
    else:
        destination = IPv6Network((int.from_bytes(values.get(_DST, b""), "big"), prefix))
        source = IPv6Address(values[_PREFSRC]) if _PREFSRC in values else None
    return KernelRoute(
        destination,
        kind,
        protocol,
        _NUMBER.unpack(values[_PRIORITY])[0] if _PRIORITY in values else 0,
        tuple(interfaces),
        _NUMBER.unpack(metrics[_MTU])[0] if _MTU in metrics else 0,
        source,
    )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[_ATTRIBUTE.size : length]  # NLA_TYPE_MASK
        data = data[length + 3 & ~3 :]
