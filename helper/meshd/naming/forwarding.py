"""Questions that are not about the mesh go to the machine's own resolvers. Nothing is kept: they have caches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence

import dns.message
import dns.rcode

from meshd.naming.queries import Query, forwarded, is_answer, is_truncated, rcode_of, relayed
from meshd.naming.zone import Address

log = logging.getLogger(__name__)

WAIT = 1.5
"""Seconds for one try."""

TRIES = 3
"""Tries in all, over the resolvers in turn: 4.5 s, before a stub resolver's own 5 s are over."""

PARALLEL = 128
"""Questions on their way at once; each has a socket."""

_NEXT = (dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED)
"""Answers after which another resolver is asked, as glibc does."""


class Unanswered(Exception):
    """Raised when no resolver answered in time, none is known, or too many questions are on their way."""


class Forwarder:
    """Equal questions share one exchange (RFC 5452 section 5), which also ends every circle of forwarders."""

    def __init__(
        self,
        resolvers: Callable[[], Awaitable[Sequence[Address]]],
        *,
        port: int = 53,
        wait: float = WAIT,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._resolvers = resolvers
        self._port = port
        self._wait = wait
        self._random = random
        self._exchanges: dict[bytes, asyncio.Task[bytes]] = {}
        self._last_good: Address | None = None

    async def resolve(self, query: Query, tcp: bool) -> bytes:
        """The answer for the asker. Raises Unanswered."""
        key = bytes([tcp]) + forwarded(query, 0).to_wire()
        task = self._exchanges.get(key)
        if task is None:
            if len(self._exchanges) >= PARALLEL:
                raise Unanswered("too many questions are on their way")
            task = asyncio.create_task(self._exchange(query, tcp), name="dns: forward")
            self._exchanges[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return relayed(query, await asyncio.shield(task))

    def _finished(self, key: bytes, task: asyncio.Task[bytes]) -> None:
        del self._exchanges[key]
        if not task.cancelled():
            task.exception()  # its askers were told, if there are any left

    async def close(self) -> None:
        tasks = list(self._exchanges.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _exchange(self, query: Query, tcp: bool) -> bytes:
        resolvers = sorted(await self._resolvers(), key=lambda one: one != self._last_good)
        if not resolvers:
            raise Unanswered("this machine has no resolver")
        refused: bytes | None = None
        why = "no answer in time"
        for turn in range(TRIES):
            resolver = resolvers[turn % len(resolvers)]
            if turn >= len(resolvers) and refused is not None:
                break  # every one was asked, and who answered would answer the same again
            message = forwarded(query, int.from_bytes(self._random(2), "big"))
            try:
                async with asyncio.timeout(self._wait):
                    wire = await ask_udp(resolver, message, self._port)
                    if tcp and is_truncated(wire):
                        wire = await self._ask_tcp(resolver, message)
            except (OSError, EOFError, TimeoutError) as error:
                why = f"{resolver}: {error or 'no answer in time'}"
                continue
            if rcode_of(wire) not in _NEXT:
                self._last_good = resolver
                return wire
            refused = wire
        if refused is not None:
            return refused
        log.debug("%s is not answered: %s", query.question.name, why)
        raise Unanswered(why)

    async def _ask_tcp(self, resolver: Address, message: dns.message.Message) -> bytes:
        loop = asyncio.get_running_loop()
        with _connectable(resolver, socket.SOCK_STREAM) as plain:
            await loop.sock_connect(plain, _target(resolver, self._port))
            await loop.sock_sendall(plain, message.to_wire(prepend_length=True))
            (length,) = struct.unpack("!H", await _receive(plain, 2))
            wire = await _receive(plain, length)
        if not is_answer(message, wire):
            raise EOFError("an answer to something else")
        return wire


async def ask_udp(resolver: Address, message: dns.message.Message, port: int) -> bytes:
    """From a socket of its own, so that the port is as unforeseeable as the id. Others' datagrams don't count.

    Raises OSError when it says that nobody listens; waits for ever when it says nothing.
    """
    loop = asyncio.get_running_loop()
    with _connectable(resolver, socket.SOCK_DGRAM) as plain:
        plain.connect(_target(resolver, port))  # UDP: returns at once
        await loop.sock_sendall(plain, message.to_wire())
        while True:
            wire = await loop.sock_recv(plain, 65535)
            if is_answer(message, wire):
                return wire


def _connectable(resolver: Address, kind: socket.SocketKind) -> socket.socket:
    plain = socket.socket(socket.AF_INET6 if resolver.version == 6 else socket.AF_INET, kind)
    plain.setblocking(False)
    return plain


def _target(resolver: Address, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    scope = getattr(resolver, "scope_id", None)
    if scope is None:
        return str(resolver), port
    with contextlib.suppress(OSError):
        return str(resolver).partition("%")[0], port, 0, socket.if_nametoindex(scope)
    raise OSError(f"there is no interface {scope}")


async def _receive(plain: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        part = await loop.sock_recv(plain, count - len(data))
        if not part:
            raise EOFError("the connection was closed")
        data += part
    return data
