"""Probes through the tunnel: one UDP socket on the overlay address that asks, answers and remembers.

WireGuard lets only the owner of an overlay address send from it, so the source address names the member. Whoever was
heard within `ALIVE` is there; an answered probe gives the latency.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from google.protobuf.message import DecodeError
from meshproto import paths_pb2

from meshd.clocks import boottime
from meshd.model.errors import Failed

log = logging.getLogger(__name__)

INTERVAL = 2.0
"""Seconds between probes of a member whose path is watched: three may be lost within the 6 s of DESIGN.md section 8."""

ALIVE = 6.0
"""Seconds without any sign after which a path counts as dead."""

MEASURE_KEPT = 15.0
"""Seconds for which a measured round trip says something about now. Probes bring a new one each `INTERVAL`."""

DATAGRAM_LIMIT = 1200
"""Bytes in one datagram, so that it never needs fragments inside a relayed tunnel."""

PENDING_KEPT = 4096


@dataclass(slots=True)
class Contact:
    """What is known about the path to one overlay address. Times are boottime seconds, 0: never."""

    heard: float = 0.0  # any datagram from there
    answered: float = 0.0  # an answer to one of our probes
    first_unanswered: float = 0.0  # since when probes go without an answer
    rtt_ms: float = 0.0  # of our last probe that was answered
    their_rtt_ms: float = 0.0  # of theirs, as they told it
    their_at: float = 0.0  # when they told it
    clock_ahead: float | None = None  # seconds by which the clock there is ahead of ours, None: not known

    @property
    def alive(self) -> bool:
        """Whether anything came from there within `ALIVE` seconds."""
        return self.heard > 0 and boottime() - self.heard < ALIVE

    @property
    def latency_ms(self) -> float:
        """The newer one of what either end measured; 0 where there is none of the last `MEASURE_KEPT` seconds."""
        at, rtt = max((self.answered, self.rtt_ms), (self.their_at, self.their_rtt_ms))
        return rtt if at > 0 and boottime() - at < MEASURE_KEPT else 0.0

    @property
    def measured_ms(self) -> float:
        """What this end measured itself within `MEASURE_KEPT` seconds; else 0."""
        return self.rtt_ms if self.answered > 0 and boottime() - self.answered < MEASURE_KEPT else 0.0


_NONE = Contact()
"""Of every address that was never asked nor heard. Not changed by anybody."""


@dataclass(slots=True)
class _Pending:
    address: IPv4Address
    sent: float
    waiter: asyncio.Future[float] | None = field(default=None)


class Prober(asyncio.DatagramProtocol):
    """`is_member` says whether an overlay address belongs to a member; datagrams from others are dropped. `on_heard` is
    called when somebody is heard who was not for longer than one probe takes to come."""

    def __init__(
        self,
        is_member: Callable[[IPv4Address], bool],
        random: Callable[[int], bytes],
        on_other: Callable[[IPv4Address, paths_pb2.PathDatagram], None] | None = None,
        on_heard: Callable[[], None] | None = None,
    ) -> None:
        self._is_member = is_member
        self._random = random
        self._on_other = on_other
        self._on_heard = on_heard
        self._transport: asyncio.DatagramTransport | None = None
        self._port = 0
        self._contacts: dict[IPv4Address, Contact] = {}
        self._pending: dict[int, _Pending] = {}

    async def start(self, address: IPv4Address, port: int) -> None:
        """Listens on the overlay address, also before it is on the interface. Raises Failed when the port is taken."""
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        plain.setblocking(False)
        try:
            plain.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND, linux/in.h
            plain.bind((str(address), port))
        except OSError as error:
            plain.close()
            raise Failed(
                f"can't listen on UDP {address}:{port}: {error.strerror}", f"see who has it: ss -lunp 'sport = :{port}'"
            ) from error
        self._port = port
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=plain)

    def stop(self) -> None:
        """Forgets everything: after a while nothing of it would be true."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        self._contacts.clear()
        self._pending.clear()

    def contact(self, address: IPv4Address) -> Contact:
        """What is known about that address; an empty Contact for a stranger."""
        return self._contacts.get(address, _NONE)

    def alive(self, address: IPv4Address) -> bool:
        """Whether anything came from there within `ALIVE` seconds."""
        return self.contact(address).alive

    def answered(self, address: IPv4Address) -> bool:
        """Whether a probe was answered within `ALIVE` seconds."""
        at = self.contact(address).answered
        return at > 0 and boottime() - at < ALIVE

    def forget(self, keep: Iterable[IPv4Address]) -> None:
        """Drops what is known about addresses that are no member's any more."""
        kept = set(keep)
        for address in [known for known in self._contacts if known not in kept]:
            del self._contacts[address]

    def ping(self, address: IPv4Address, waiter: asyncio.Future[float] | None = None) -> int:
        """Sends one probe; returns its nonce. `waiter` gets the round trip in milliseconds."""
        nonce = int.from_bytes(self._random(8), "big")
        now = boottime()
        contact = self._contacts.setdefault(address, Contact())
        if not contact.first_unanswered:
            contact.first_unanswered = now
        self._pending[nonce] = _Pending(address, now, waiter)
        while len(self._pending) > PENDING_KEPT:
            self._pending.pop(next(iter(self._pending)))
        self.send(address, paths_pb2.PathDatagram(ping=paths_pb2.Echo(nonce=nonce, rtt_ms=contact.measured_ms)))
        return nonce

    async def measure(self, address: IPv4Address, timeout: float) -> float | None:
        """One round trip in milliseconds, or None when no answer came within `timeout` seconds."""
        waiter: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        nonce = self.ping(address, waiter)
        try:
            async with asyncio.timeout(timeout):
                return await waiter
        except TimeoutError:
            return None
        finally:
            self._pending.pop(nonce, None)

    def send(self, address: IPv4Address, datagram: paths_pb2.PathDatagram) -> None:
        """Sends a datagram; one that can't be sent now is a lost one, which probes are there to notice."""
        if self._transport is not None:
            self._transport.sendto(datagram.SerializeToString(), (str(address), self._port))

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        if len(data) > DATAGRAM_LIMIT:
            return
        address = IPv4Address(source[0])
        if not self._is_member(address):
            return
        try:
            datagram = paths_pb2.PathDatagram.FromString(data)
        except DecodeError:
            log.debug("unreadable datagram from %s", address)
            return
        now = boottime()
        contact = self._contacts.setdefault(address, Contact())
        appeared = now - contact.heard > 1.5 * INTERVAL
        contact.heard = now
        if appeared and self._on_heard is not None:
            self._on_heard()
        kind = datagram.WhichOneof("what")
        if kind == "ping":
            if datagram.ping.rtt_ms > 0:
                contact.their_rtt_ms, contact.their_at = datagram.ping.rtt_ms, now
            self.send(
                address,
                paths_pb2.PathDatagram(
                    pong=paths_pb2.Echo(nonce=datagram.ping.nonce, at_ms=time.time_ns() // 1_000_000)
                ),
            )
        elif kind == "pong":
            self._answer(address, contact, datagram.pong, now)
        elif kind is not None and self._on_other is not None:
            self._on_other(address, datagram)

    def _answer(self, address: IPv4Address, contact: Contact, pong: paths_pb2.Echo, now: float) -> None:
        pending = self._pending.get(pong.nonce)
        if pending is None or pending.address != address:
            return
        del self._pending[pong.nonce]
        if now - pending.sent > ALIVE:  # it waited while this machine slept: it says nothing about now
            return
        rtt = (now - pending.sent) * 1000
        contact.rtt_ms = rtt
        contact.answered = now
        contact.first_unanswered = 0.0
        if pong.at_ms:
            contact.clock_ahead = pong.at_ms / 1000 - time.time() + rtt / 2000
        if pending.waiter is not None and not pending.waiter.done():
            pending.waiter.set_result(rtt)

    def error_received(self, error: Exception) -> None:
        log.debug("probe not sent: %s", error)
