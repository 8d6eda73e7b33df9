"""Which format a Redis writes full copies in, and whether another one can read them: Redis and Valkey raise the number
now and then, and a server that gets a copy it can't read empties its memory and asks again, several times a second.

Its file on disk stays as it was, and counts no more until the server is started again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from meshd.store.connection import Connection
from meshd.store.errors import StoreFailed

FOREIGN = range(12, 80)
"""Numbers of Redis since 7.4, which Valkey does not read; its own since 9.0 begin after them (`rdb.h` of Valkey)."""

FOOTER = 10
"""Bytes at the end of what DUMP writes: the number in two, little end first, then a checksum in eight (`cluster.c`)."""


@dataclass(frozen=True, slots=True)
class CopyFormat:
    """`server`: what to call it, such as `Redis 7.0.15`. `number`: its RDB version; 0 where it does not say."""

    server: str = "redis"
    number: int = 0

    @classmethod
    def told(cls, server: str, number: int) -> CopyFormat:
        """As another node said. What is no name of a server is not shown."""
        known = re.fullmatch(r"(Redis|Valkey) [0-9][0-9.]{0,19}", server)
        return cls(server if known else "another redis", number)

    def reads(self, other: CopyFormat) -> bool:
        """Whether this server can load a copy by that one. What is not known is taken for readable, as ever."""
        if not (self.number and other.number):
            return True
        if other.number in FOREIGN and self.number >= FOREIGN.stop:
            return False
        return other.number <= self.number


async def own_format(connection: Connection) -> CopyFormat:
    """Of the server behind the connection, for as long as it runs. Raises StoreUnavailable and StoreFailed."""
    info = await connection.info("server")
    valkey = info.get("valkey_version", "")  # it calls itself Redis 7.2.4 besides
    server = f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version', '')}"
    try:
        dump = await connection.call("FUNCTION", "DUMP")  # there are none: it is the footer alone
    except StoreFailed:  # an administrator may forbid it
        return CopyFormat.told(server, 0)
    if not isinstance(dump, bytes) or len(dump) < FOOTER:
        return CopyFormat.told(server, 0)
    return CopyFormat.told(server, int.from_bytes(dump[-FOOTER:][:2], "little"))
