"""Hears from the kernel that links, addresses, routes or nftables changed, so that the owner compares again at once.

What changed is not read: comparing finds out, and so an overflow of the socket loses nothing. WireGuard tells nobody
about its peers; the owner's timer finds those.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable

log = logging.getLogger(__name__)

DEBOUNCE = 0.1
"""Seconds from the first message to the call: changes come in bunches, our own ones too."""

_NETLINK_NETFILTER = 12  # linux/netlink.h
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1  # linux/netlink.h
_ROUTE_GROUPS = (1, 5, 7, 9, 11)  # RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, linux/rtnetlink.h
_NFTABLES_GROUPS = (7,)  # NFNLGRP_NFTABLES, linux/netfilter/nfnetlink.h
_CHUNK = 1 << 16


class KernelWatch:
    """Calls `on_change` in the event loop, at most once in `DEBOUNCE` seconds, after anything changed."""

    def __init__(self, on_change: Callable[[], None], debounce: float = DEBOUNCE) -> None:
        self._on_change = on_change
        self._debounce = debounce
        self._sockets: list[socket.socket] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Must run in the event loop. A kernel without nftables is watched without them."""
        self._open(socket.NETLINK_ROUTE, _ROUTE_GROUPS)
        try:
            self._open(_NETLINK_NETFILTER, _NFTABLES_GROUPS)
        except OSError as error:
            log.warning("changes of nftables are found by the timer only: %s", error.strerror)

    def stop(self) -> None:
        """Nothing is called afterwards."""
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.remove_reader(one)
            one.close()
        self._sockets = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _open(self, protocol: int, groups: tuple[int, ...]) -> None:
        one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
        try:
            one.bind((0, 0))
            for group in groups:
                one.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError:
            one.close()
            raise
        self._sockets.append(one)
        asyncio.get_running_loop().add_reader(one, self._readable, one)

    def _readable(self, one: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    one.recv(_CHUNK)
                except BlockingIOError:
                    raise
                except OSError as error:  # ENOBUFS: messages were lost, so something changed
                    log.debug("netlink: %s", os.strerror(error.errno or 0))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._debounce, self._call)

    def _call(self) -> None:
        self._timer = None
        self._on_change()
