"""The machine's own resolvers, from resolv.conf, read again when it changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from meshd.naming.zone import Address

RESOLV_CONF = Path("/etc/resolv.conf")

MOST = 3
"""Resolvers that count: MAXNS in resolv.h."""

LOOK_AGAIN = 2.0
"""Seconds between looks at the file."""


def parse(text: str) -> tuple[Address, ...]:
    """The addresses in the `nameserver` lines, as glibc reads them (man resolv.conf): others are left out."""
    found: list[Address] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver" or line[0].isspace():
            continue
        try:
            found.append(ip_address(words[1]))
        except ValueError:
            continue
    return tuple(dict.fromkeys(found[:MOST]))


def read(path: Path = RESOLV_CONF) -> tuple[Address, ...]:
    """A machine without the file has none. Blocks."""
    try:
        return parse(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ()


class Resolvers:
    """`current` gives the ones that may be asked: never a member of the mesh, or questions would go in circles."""

    def __init__(self, is_overlay: Callable[[Address], bool], path: Path = RESOLV_CONF) -> None:
        self._is_overlay = is_overlay
        self._path = path
        self._read_at = 0.0
        self._seen: tuple[int, int, int] | None = None
        self._found: tuple[Address, ...] = ()

    async def current(self) -> list[Address]:
        now = time.monotonic()
        if not self._read_at or now - self._read_at >= LOOK_AGAIN:
            self._read_at = now
            await asyncio.to_thread(self._read)
        return [one for one in self._found if not self._is_overlay(one)]

    def _read(self) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if seen != self._seen:
                self._found = parse(self._path.read_text(encoding="utf-8", errors="replace"))
                self._seen = seen
        except OSError:  # a machine without the file has no resolvers
            self._found, self._seen = (), None
