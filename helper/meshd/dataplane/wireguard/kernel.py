"""WireGuard in the kernel: links over rtnetlink, peers over generic netlink. Nothing has to run to keep it up.

Our links carry the group `GROUP`, so that no other program's WireGuard interface is ever taken for ours.
"""

from __future__ import annotations

import asyncio
import errno
import os
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState
from meshd.dataplane.wireguard.kernel_messages import decode_dump, encode_changes, encode_request
from meshd.dataplane.wireguard.netlink import (
    CREATE,
    EXCLUSIVE,
    GENERIC,
    ROUTE,
    Malformed,
    NetlinkConnection,
    attribute,
    attributes,
    nested,
    number,
)
from meshd.model.errors import Failed

T = TypeVar("T")

GROUP = 0x6D
"""The link group of our interfaces, set as they are made (`ip link show group 109`); 0 is everybody's."""

PROBE = "meshd-probe"
"""The link that is made and removed to see whether this kernel has WireGuard."""

_KIND = "wireguard"
_NEW_LINK, _DELETE_LINK, _GET_LINK = 16, 17, 18  # RTM_*, linux/rtnetlink.h
_IFNAME, _MTU, _LINKINFO, _GROUP = 3, 4, 18, 27  # IFLA_*, linux/if_link.h
_INFO_KIND = 1  # IFLA_INFO_KIND
_IFINFO = struct.Struct("=BxHiII")  # struct ifinfomsg
_U32 = struct.Struct("=I")
_CONTROLLER, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2  # linux/genetlink.h

_MISSING = (errno.EOPNOTSUPP, errno.ENOENT, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)
"""What the kernel says of a kind or family that it does not have, also after it tried to load the module."""


@dataclass(frozen=True, slots=True)
class _Link:
    index: int
    kind: str
    group: int

    @property
    def ours(self) -> bool:
        return self.kind == _KIND and self.group == GROUP


class KernelBackend:
    """Keeps nothing between calls: the kernel is asked each time, in a thread, by a connection of its own."""

    name = "kernel"

    def __init__(self) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def create(self, interface: str, mtu: int) -> bool:
        return await self._do(interface, lambda: _create(interface, mtu))

    async def exists(self, interface: str) -> bool:
        return await self._do(interface, lambda: _exists(interface))

    async def read(self, interface: str) -> DeviceState:
        return await self._do(interface, lambda: _read(interface))

    async def apply(self, interface: str, change: DeviceChange) -> None:
        await self._do(interface, lambda: _apply(interface, change))

    async def delete(self, interface: str) -> None:
        await self._do(interface, lambda: _delete(interface))

    async def close(self) -> None:
        pass

    async def _do(self, interface: str, work: Callable[[], T]) -> T:
        async with self._locks[interface]:
            return await asyncio.to_thread(work)


def probe() -> None:
    """Makes a WireGuard link and removes it. Raises Failed when that does not work here. Blocks."""
    with _netlink("making a WireGuard interface", PROBE), NetlinkConnection(ROUTE) as route:
        link = _find(route, PROBE)  # there when another helper probes at this moment, or was killed while it did
        if link is None:
            with suppress(FileExistsError):
                _make(route, PROBE, 0)
            link = _find(route, PROBE)
        if link is not None:
            _check_ours(link)
            _remove(route, link)


# --- the work, in threads -------------------------------------------------------------------------------------------


def _create(interface: str, mtu: int) -> bool:
    with _netlink(f"making {interface}", interface), NetlinkConnection(ROUTE) as route:
        link = _find(route, interface)
        if link is None:
            _make(route, interface, mtu)
            return True
        _check_ours(link)
        return False


def _check_ours(link: _Link) -> None:
    if not link.ours:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))


def _exists(interface: str) -> bool:
    with _netlink(f"reading {interface}", interface), NetlinkConnection(ROUTE) as route:
        link = _find(route, interface)
        return link is not None and link.ours


def _delete(interface: str) -> None:
    with _netlink(f"removing {interface}", interface), NetlinkConnection(ROUTE) as route:
        link = _find(route, interface)
        if link is not None and link.ours:
            _remove(route, link)


def _read(interface: str) -> DeviceState:
    with _netlink(f"reading the peers of {interface}", interface), NetlinkConnection(GENERIC) as one:
        return decode_dump(one.dump(_family(one), encode_request(interface)))


def _apply(interface: str, change: DeviceChange) -> None:
    with _netlink(f"changing {interface}", interface), NetlinkConnection(GENERIC) as one:
        family = _family(one)
        for payload in encode_changes(interface, change):
            one.ask(family, payload)


def _family(one: NetlinkConnection) -> int:
    """The number of generic netlink's family "wireguard"; asking for it loads the module."""
    request = struct.pack("=BBH", _GET_FAMILY, 1, 0) + attribute(_FAMILY_NAME, _KIND.encode() + b"\0")
    with _needing_wireguard():
        answers = one.ask(_CONTROLLER, request)
    for payload in answers:
        for kind, value in attributes(payload[4:]):
            if kind == _FAMILY_ID:
                return number(value)
    raise Malformed("a family without a number")


def _find(route: NetlinkConnection, interface: str) -> _Link | None:
    try:
        answers = route.ask(_GET_LINK, _IFINFO.pack(0, 0, 0, 0, 0) + attribute(_IFNAME, interface.encode() + b"\0"))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    if not answers or len(answers[0]) < _IFINFO.size:
        raise Malformed("a link that is cut off")
    values = dict(attributes(answers[0][_IFINFO.size :]))
    info = dict(attributes(values.get(_LINKINFO, b"")))
    kind = info.get(_INFO_KIND, b"").rstrip(b"\0").decode("ascii", "replace")
    return _Link(_IFINFO.unpack_from(answers[0])[2], kind, number(values.get(_GROUP, bytes(4))))


def _make(route: NetlinkConnection, interface: str, mtu: int) -> None:
    fields = attribute(_IFNAME, interface.encode() + b"\0") + attribute(_GROUP, _U32.pack(GROUP))
    if mtu:
        fields += attribute(_MTU, _U32.pack(mtu))
    fields += nested(_LINKINFO, attribute(_INFO_KIND, _KIND.encode()))
    with _needing_wireguard():
        route.ask(_NEW_LINK, _IFINFO.pack(0, 0, 0, 0, 0) + fields, CREATE | EXCLUSIVE)


def _remove(route: NetlinkConnection, link: _Link) -> None:
    try:
        route.ask(_DELETE_LINK, _IFINFO.pack(0, 0, link.index, 0, 0))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


@contextmanager
def _netlink(what: str, interface: str) -> Iterator[None]:
    """Says what went wrong in words that help."""
    try:
        yield
    except TimeoutError as error:
        raise Failed(f"{what}: the kernel gave no answer", "see its log: dmesg") from error
    except Malformed as error:
        raise Failed(f"{what}: the kernel's answer can't be read: {error}") from error
    except OSError as error:
        raise explain(error, what, interface) from error


def explain(error: OSError, what: str, interface: str) -> Failed:
    """The kernel's error as one that a person can act on."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return Failed(f"{what}: not permitted", "meshd needs CAP_NET_ADMIN: run it as root or by its service")
    if error.errno == errno.EEXIST:
        return Failed(f"interface {interface} already exists and is not ours", "remove it, or choose --interface")
    if error.errno == errno.ENODEV:
        return Failed(f"interface {interface} is gone", "meshd makes it again by itself")
    if error.errno == errno.EADDRINUSE:
        return Failed("the WireGuard port is taken", "choose another one: --listen-port", "port-taken")
    if error.errno == errno.EOPNOTSUPP:
        return Failed(f"interface {interface} is not one of WireGuard's", "remove it, or choose --interface")
    return Failed(f"{what}: {error.strerror}")


@contextmanager
def _needing_wireguard() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _MISSING:
            raise Failed(
                "this kernel has no WireGuard", "modprobe wireguard, or use --backend userspace", "missing"
            ) from error
        raise
