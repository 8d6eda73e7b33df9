"""Who copies from whom. The primary lets replicas in with an account of its epoch; the others follow, or are parked.

The account is made anew for each offer, is never saved, and goes with the server: one that comes up empty has none, so
nobody can follow it and be wiped (FACTS: replicas that log in with an account keep everything then).
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from meshd.store.connection import Connection

log = logging.getLogger(__name__)

PREFIX = "repl-"

DEAD = ("127.0.0.1", 0)
"""Nothing can ever listen on port 0: a server that is told to follow this keeps its data and takes no writes."""


HUNG = 3
"""Seconds without a word from the primary, which pings every second, after which a link is made anew. TCP would try the
old connection again after a pause that is as long as the outage was."""

CONNECT_LIMIT = 2.5
"""Seconds in which a link comes up, or the other end has at least taken the connection."""

TALK_LIMIT = 10.0
"""Seconds for what the two say to each other then: five round trips."""


COPY_LIMIT = 15
"""Seconds without a byte after which a full copy is not waited for: a primary with a slow disk may need some."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a replica of one epoch logs in with. Sent over mutual TLS only."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """Where a server gets its data from."""

    role: str  # "primary" or "replica"
    host: str = ""
    port: int = 0
    up: bool = False
    syncing: bool = False  # a full copy is being received
    silent: int = field(default=0, compare=False)  # seconds since the primary was heard, while it is up or copied from

    @property
    def parked(self) -> bool:
        return (self.host, self.port) == DEAD


class Replication:
    """The replication of one server, in both directions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.copying = False  # whether a full copy comes in, as `follow` saw it last
        self._pointed = -math.inf  # when this server was told to follow the one that it follows (CLOCK_MONOTONIC)

    async def offer(self, epoch: int) -> Credentials:
        """Makes the account of an epoch, with a new password, and deletes those of all others.

        Only for the primary of that epoch, and only after its first entry is on disk. Replicas that are connected with
        an earlier password of the same epoch stay connected.
        """
        credentials = Credentials(f"{PREFIX}{epoch}", secrets.token_hex(32))
        await self._revoke_all(but=credentials.user)
        await self._connection.call(
            "ACL",
            "SETUSER",
            credentials.user,
            "reset",
            "on",
            f">{credentials.password}",
            "+psync",
            "+replconf",
            "+ping",
        )
        return credentials

    async def revoke(self, epoch: int) -> None:
        """Deletes the account of an epoch; that cuts the links that use it."""
        await self._connection.call("ACL", "DELUSER", f"{PREFIX}{epoch}")

    async def revoke_all(self) -> None:
        """Deletes every replication account: for a server that was adopted and whose term is not ours to continue."""
        await self._revoke_all(but="")

    async def _revoke_all(self, but: str) -> None:
        users = [user.decode(errors="replace") for user in await self._connection.call("ACL", "USERS")]
        old = [user for user in users if user.startswith(PREFIX) and user != but]
        if old:
            await self._connection.call("ACL", "DELUSER", *old)

    async def follow(self, host: IPv4Address | IPv6Address, port: int, credentials: Credentials) -> None:
        """Copies from a primary from now on. Does nothing when it does so already; never interrupts a link that works.
        One that hangs, as after a partition, is made anew: call this again and again.

        The copy is made in the background: `link` tells how it goes.
        """
        known = await self._connection.config("masteruser", "masterauth")
        if (known.get("masteruser"), known.get("masterauth")) != (credentials.user, credentials.password):
            await self._connection.call(
                "CONFIG", "SET", "masteruser", credentials.user, "masterauth", credentials.password
            )
        link = await self.link()
        self.copying = link.syncing and link.silent <= COPY_LIMIT
        now = time.monotonic()
        if (link.role, link.host, link.port) == ("replica", str(host), port):
            works = link.syncing or (link.up and link.silent <= HUNG)
            since = now - self._pointed
            if works or since < CONNECT_LIMIT or (not link.up and since < TALK_LIMIT and await self._talks()):
                return
            await self._connection.call("REPLICAOF", *DEAD)  # else the next command would change nothing
        log.info("redis follows %s port %d", host, port)
        self._pointed = now
        await self._connection.call("REPLICAOF", str(host), port)

    async def park(self) -> None:
        """Copies from nobody and takes no writes; the data stays. Forgets the password."""
        self.copying = False
        link = await self.link()
        if not link.parked:
            await self._connection.call("REPLICAOF", *DEAD)
        await self._connection.call("CONFIG", "SET", "masteruser", "", "masterauth", "")

    async def detach(self) -> None:
        """Copies from nobody and takes writes: for the primary alone."""
        self.copying = False
        await self._connection.call("REPLICAOF", "NO", "ONE")
        await self._connection.call("CONFIG", "SET", "masteruser", "", "masterauth", "")

    async def _talks(self) -> bool:
        """Whether the primary's server has taken the connection, and the copy is being agreed on, or was just now."""
        said = await self._connection.call("ROLE")
        return bool(said[0] == b"slave" and said[3] in (b"handshake", b"sync", b"connected"))

    async def link(self) -> Link:
        """How it stands now."""
        info = await self._connection.info("replication")
        if info.get("role") != "slave":
            return Link("primary")
        syncing = info.get("master_sync_in_progress") == "1"
        return Link(
            "replica",
            info.get("master_host", ""),
            int(info.get("master_port", 0)),
            up=info.get("master_link_status") == "up",
            syncing=syncing,
            silent=int(info.get("master_sync_last_io_seconds_ago" if syncing else "master_last_io_seconds_ago", 0)),
        )
