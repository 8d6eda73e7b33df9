"""Members with names, and a real upstream resolver on loopback."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from meshd.model.members import Member, Role
from meshd.naming.zone import Zone
from meshproto.keys import PublicKey

LOOPBACK = IPv4Address("127.0.0.1")


def member(name: str, ipv4: str, ipv6: str, role: Role = Role.PEER, **fields: Any) -> Member:
    return Member(
        id=f"id of {name}",
        name=name,
        role=role,
        public_key=PublicKey(name.encode().ljust(32, b"-")),
        ipv4=IPv4Address(ipv4),
        ipv6=IPv6Address(ipv6),
        transport=None,
        subnet=IPv4Network(f"{ipv4}/16", strict=False) if role is Role.NODE else None,
        **fields,
    )


MEMBERS = (
    member("gw-berlin", "10.11.0.1", "fd00:1::1", Role.NODE),
    member("gw-paris", "10.12.0.1", "fd00:1::2", Role.NODE),
    member("laptop-ada", "10.51.0.1", "fd00:1::a:1"),
    member("tester", "127.0.0.1", "::1"),
    member("laptop-off", "10.51.0.9", "fd00:1::a:9", enabled=False),
)
NETWORKS = (
    IPv4Network("10.11.0.0/16"),
    IPv4Network("10.12.0.0/16"),
    IPv4Network("10.51.0.0/20"),
    IPv6Network("fd00:1::/64"),
)


@pytest.fixture
def make_zone() -> Callable[..., Zone]:
    def make(members: tuple[Member, ...] = MEMBERS, domain: str = "home.wg", serial: int = 7) -> Zone:
        return Zone(domain, members, NETWORKS, serial, "gw-berlin")

    return make


@pytest.fixture(scope="session")
def make_member() -> Callable[..., Member]:
    return member


@pytest.fixture
def zone(make_zone: Callable[..., Zone]) -> Zone:
    return make_zone()


@pytest.fixture
def free_port() -> int:
    """One that is free for UDP and TCP, on all of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        tcp.bind(("0.0.0.0", 0))
        port = int(tcp.getsockname()[1])
        udp.bind(("0.0.0.0", port))
    return port


@dataclass
class Upstream(asyncio.DatagramProtocol):
    """A resolver that knows every name: A is 192.0.2.1. `reply` may be replaced by a test."""

    address: str
    port: int
    reply: Callable[[dns.message.Message, bool], bytes | None] | None = None
    asked: list[dns.message.Message] = field(default_factory=list)
    sources: list[tuple[str, int]] = field(default_factory=list)

    def answer(self, wire: bytes, tcp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        self.asked.append(query)
        if self.reply is not None:
            return self.reply(query, tcp)
        return self.usual(query).to_wire()

    @staticmethod
    def usual(query: dns.message.Message, text: str = "192.0.2.1") -> dns.message.Message:
        response = dns.message.make_response(query, recursion_available=True)
        response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", text))
        return response

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)  # its class says so only since Python 3.12

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.sources.append(source)
        answer = self.answer(data, False)
        if answer is not None:
            self.transport.sendto(answer, source)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        answer = self.answer(await reader.readexactly(length), True)
        if answer is not None:
            writer.write(struct.pack("!H", len(answer)) + answer)
        writer.close()


@pytest.fixture
async def make_upstream(free_port: int) -> AsyncIterator[Callable[..., Any]]:
    """Upstreams on one port and different loopback addresses."""
    closing: list[Callable[[], Any]] = []

    async def make(address: str = "127.0.1.1", tcp: bool = True) -> Upstream:
        upstream = Upstream(address, free_port)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: upstream, local_addr=(address, free_port)
        )
        closing.append(transport.close)
        if tcp:
            server = await asyncio.start_server(upstream.connected, address, free_port)
            closing.append(server.close)
        return upstream

    yield make
    for close in closing:
        close()
    await asyncio.sleep(0)


@pytest.fixture(scope="session")
def upstream_type() -> type[Upstream]:
    return Upstream
