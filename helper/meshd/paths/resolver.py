"""Host names of endpoints, looked up beside everything else: a slow or broken resolver holds nothing up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from meshd.clocks import boottime

log = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
Lookup = Callable[[str], list[Address]]

FRESH = 60.0
"""Seconds after which a name is looked up again."""

RETRY = 10.0
"""Seconds after which a name that could not be looked up is tried again."""

FIRST_WAIT = 2.0
"""Seconds that the first question about a name may take; later ones get what is known at once."""


def look_up(host: str) -> list[Address]:
    """By the system's resolver, in its order. Blocks; raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys(ip_address(str(entry[4][0]).split("%")[0]) for entry in found))


@dataclass(slots=True)
class _Name:
    addresses: list[Address] = field(default_factory=list)
    due: float = 0.0
    running: asyncio.Event | None = None  # set when the lookup is done


class Resolver:
    """Keeps what it last knew of a name while the name can't be looked up."""

    def __init__(self, lookup: Lookup = look_up) -> None:
        self._lookup = lookup
        self._known: dict[str, _Name] = {}

    async def resolve(self, host: str) -> list[Address]:
        """The addresses; empty when none is known. Never raises, and waits `FIRST_WAIT` seconds at most."""
        name = self._known.setdefault(host, _Name())
        if name.running is None and boottime() >= name.due:
            self._start(host, name)
        if not name.due and name.running is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_WAIT):
                    await name.running.wait()
        return list(name.addresses)

    def look_again(self) -> None:
        """Every name is looked up again when it is asked for next: this machine was away, or is in another network."""
        for name in self._known.values():
            name.due = min(name.due, boottime())

    def _start(self, host: str, name: _Name) -> None:
        """In a thread that nobody waits for at the end: the system's resolver can't be interrupted."""
        name.running = asyncio.Event()
        loop = asyncio.get_running_loop()

        def work() -> None:
            try:
                found: list[Address] | None = self._lookup(host)
            except (OSError, UnicodeError) as error:
                log.info("%s can't be resolved: %s", host, error)
                found = None
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._done, name, found)

        threading.Thread(target=work, name=f"resolve {host}", daemon=True).start()

    def _done(self, name: _Name, found: list[Address] | None) -> None:
        if found is not None:
            name.addresses = found
        name.due = boottime() + (RETRY if found is None else FRESH)
        if name.running is not None:
            name.running.set()
            name.running = None
