"""The DNS server on a node's overlay addresses, for members of the mesh, hosts in their subnets, and nobody else.

It listens also before its addresses are on the interface and while they are gone (IP_FREEBIND).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from ipaddress import ip_address
from typing import Any, cast

import dns.rcode

from meshd.model.errors import Failed
from meshd.naming.forwarding import Forwarder, Unanswered
from meshd.naming.queries import Query, read_query, refusal, reply
from meshd.naming.rate_limit import RateLimit
from meshd.naming.zone import Address, Zone

log = logging.getLogger(__name__)

IDLE = 10.0
"""Seconds that a TCP connection may be silent, or take an answer."""

CONNECTIONS, CONNECTIONS_EACH = 64, 8
"""TCP connections at once, in all and of one asker."""

WAITING_EACH = 32
"""Forwarded questions of one asker at once."""

LONGEST_QUERY = 4096
"""Bytes; a question with every EDNS option in use has a few hundred."""

PortOwner = Callable[[Address, int, socket.SocketKind], str]

_FREEBIND = {4: (socket.IPPROTO_IP, 15), 6: (socket.IPPROTO_IPV6, 78)}  # linux/in.h, linux/in6.h


class DnsServer:
    """`zone` gives the zone as it is now, `owner` names who has a port ("" when unknown; it runs in a thread).

    `start` raises Failed and leaves nothing open when a port can't be had.
    """

    def __init__(
        self,
        zone: Callable[[], Zone],
        forwarder: Forwarder,
        owner: PortOwner,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._owner = owner
        self._zone = zone
        self._forwarder = forwarder
        self._now = now
        self._udp: list[_Datagrams] = []
        self._tcp: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: Counter[Address] = Counter()
        self._connections: Counter[Hashable] = Counter()
        self._all = RateLimit(1500, 3000)  # about half of one core
        self._each = RateLimit(300, 600)  # a browser that opens a heavy page asks a hundred

    async def start(self, addresses: Sequence[Address], port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            for address in addresses:
                plain = await _bound(address, port, socket.SOCK_DGRAM, self._owner)
                _, datagrams = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=plain)
                self._udp.append(datagrams)
                plain = await _bound(address, port, socket.SOCK_STREAM, self._owner)
                self._tcp.append(await asyncio.start_server(self._connected, sock=plain, limit=LONGEST_QUERY))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        for datagrams in self._udp:
            await datagrams.close()
        for server in self._tcp:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._forwarder.close()
        self._udp, self._tcp = [], []

    # --- answering --------------------------------------------------------------------------------------------------

    def allowed(self, source: Address) -> bool:
        """Whether there is time for one more question of that asker."""
        now = self._now()
        return self._each.take(self._asker(source), now) and self._all.take("", now)

    def _asker(self, source: Address) -> Hashable:
        """Who is counted: a member, or all strangers together."""
        return source if self._zone().is_client(source) else "strangers"

    def answer_now(self, wire: bytes, source: Address, tcp: bool) -> Query | bytes | None:
        """The answer, or the question when it has to be forwarded, or None when there is nothing to say."""
        query = read_query(wire, tcp)
        if not isinstance(query, Query):
            return query
        zone = self._zone()
        if not zone.is_client(source):
            return refusal(query, dns.rcode.REFUSED)
        found = zone.lookup(query.question.name, query.question.rdtype)
        return query if found is None else reply(query, found)

    async def forward(self, query: Query, source: Address, tcp: bool) -> bytes:
        if self._waiting[source] >= WAITING_EACH:
            return refusal(query, dns.rcode.SERVFAIL)
        self._waiting[source] += 1
        try:
            return await self._forwarder.resolve(query, tcp)
        except Unanswered:
            return refusal(query, dns.rcode.SERVFAIL)
        finally:
            _less(self._waiting, source)

    def forward_datagram(self, query: Query, source: Address, send: Callable[[bytes], None]) -> None:
        async def run() -> None:
            send(await self.forward(query, source, tcp=False))

        self._own(asyncio.create_task(run(), name="dns: datagram"))

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- TCP --------------------------------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._own(task)
        peer = writer.get_extra_info("peername")
        try:
            if peer is None:  # gone already
                return
            source = ip_address(peer[0])
            asker = self._asker(source)
            if self._connections.total() >= CONNECTIONS or self._connections[asker] >= CONNECTIONS_EACH:
                return
            self._connections[asker] += 1
            try:
                while await self._serve(reader, writer, source):
                    pass
            finally:
                _less(self._connections, asker)
        except (OSError, EOFError, TimeoutError) as error:
            log.debug("dns over tcp from %s: %s", peer, error)
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: Address) -> bool:
        """One question; whether the connection stays open for another."""
        async with asyncio.timeout(IDLE):
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            if length > LONGEST_QUERY or not self.allowed(source):
                return False
            wire = await reader.readexactly(length)
        answer = self.answer_now(wire, source, tcp=True)
        if isinstance(answer, Query):
            answer = await self.forward(answer, source, tcp=True)
        if answer is None:
            return False
        writer.write(struct.pack("!H", len(answer)) + answer)
        async with asyncio.timeout(IDLE):
            await writer.drain()
        return self._zone().is_client(source)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._closed = asyncio.Event()

    async def close(self) -> None:
        self._transport.close()
        await self._closed.wait()

    def connection_lost(self, error: Exception | None) -> None:
        self._closed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # its class says so only since Python 3.12

    def datagram_received(self, data: bytes, sender: tuple[Any, ...]) -> None:
        source = ip_address(sender[0])
        if len(data) > LONGEST_QUERY or not self._server.allowed(source):
            return

        def send(wire: bytes) -> None:
            if not self._transport.is_closing():
                self._transport.sendto(wire, sender)

        answer = self._server.answer_now(data, source, tcp=False)
        if isinstance(answer, Query):
            self._server.forward_datagram(answer, source, send)
        elif answer is not None:
            send(answer)

    def error_received(self, error: Exception) -> None:
        log.debug("dns answer not sent: %s", error)


def _less(counter: Counter[Any], key: Hashable) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


async def _bound(address: Address, port: int, kind: socket.SocketKind, owner: PortOwner) -> socket.socket:
    plain = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, kind)
    plain.setblocking(False)
    try:
        with contextlib.suppress(OSError):  # without it the address must be there already
            plain.setsockopt(*_FREEBIND[address.version], 1)
        if address.version == 6:
            plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections don't count
        plain.bind((str(address), port))
    except OSError as error:
        plain.close()
        raise await _refused(address, port, kind, owner, error) from error
    return plain


async def _refused(address: Address, port: int, kind: socket.SocketKind, owner: PortOwner, error: OSError) -> Failed:
    where = f"{'UDP' if kind == socket.SOCK_DGRAM else 'TCP'} port {port} of {address}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return Failed(f"{where} is not permitted", "give meshd CAP_NET_BIND_SERVICE, or start it with --dns off")
    if error.errno != errno.EADDRINUSE:
        return Failed(f"{where} can't be used: {error.strerror}")
    program = await asyncio.to_thread(owner, address, port, kind)
    return Failed(
        f"{where} is taken by {program or 'another program'}",
        f"have {program.partition(' ')[0] if '(pid' in program else 'it'} listen on its own addresses only, "
        "or start meshd with --dns off",
    )
