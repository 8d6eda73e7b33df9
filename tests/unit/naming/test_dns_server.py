"""The server on loopback sockets, asked as real resolvers do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import dns.asyncquery
import dns.message
import dns.rcode
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from meshd.model.errors import Failed
from meshd.naming import dns_server
from meshd.naming.dns_server import DnsServer
from meshd.naming.forwarding import Forwarder
from meshd.naming.queries import Query
from meshd.naming.zone import Address, Zone

LOOPBACK = IPv4Address("127.0.0.1")
MEMBER = IPv4Address("10.51.0.1")
STRANGER = IPv4Address("192.0.2.7")


def owner(address: Address, port: int, kind: socket.SocketKind) -> str:
    return f"somebody (pid {os.getpid()})"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def upstream(make_upstream: Callable[..., Awaitable[Any]]) -> Any:
    return await make_upstream()


@pytest.fixture
async def server(zone: Zone, upstream: Any, clock: Clock) -> AsyncIterator[DnsServer]:
    async def resolvers() -> list[Address]:
        return [ip_address(upstream.address)]

    server = DnsServer(lambda: zone, Forwarder(resolvers, port=upstream.port, wait=0.2), owner, clock)
    await server.start([LOOPBACK, IPv6Address("::1")], upstream.port)
    yield server
    await server.stop()


def question(name: str = "gw-paris.home.wg", kind: str = "A") -> dns.message.QueryMessage:
    return dns.message.make_query(name, kind)


def texts(message: dns.message.Message) -> list[str]:
    return [one.to_text() for rrset in message.answer for one in rrset]


@pytest.mark.parametrize("where", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("ask", [dns.asyncquery.udp, dns.asyncquery.tcp])
async def test_members_are_answered(server: DnsServer, upstream: Any, ask: Any, where: str) -> None:
    message = await ask(question(), where, timeout=5, port=upstream.port)
    assert texts(message) == ["10.12.0.1"]
    assert upstream.asked == []
    message = await ask(question("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", "PTR"), where,
                        timeout=5, port=upstream.port)  # fmt: skip
    message = await ask(question("1.0.12.10.in-addr.arpa", "PTR"), where, timeout=5, port=upstream.port)
    assert texts(message) == ["gw-paris.home.wg."]


@pytest.mark.parametrize("ask", [dns.asyncquery.udp, dns.asyncquery.tcp])
async def test_other_names_come_from_the_upstream(server: DnsServer, upstream: Any, ask: Any) -> None:
    message = await ask(question("www.example.org"), "127.0.0.1", timeout=5, port=upstream.port)
    assert texts(message) == ["192.0.2.1"]
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("ask", [dns.asyncquery.udp, dns.asyncquery.tcp])
async def test_an_upstream_that_is_silent_is_a_servfail(server: DnsServer, upstream: Any, ask: Any) -> None:
    upstream.reply = lambda query, tcp: None
    message = await ask(question("www.example.org"), "127.0.0.1", timeout=5, port=upstream.port)
    assert message.rcode() == dns.rcode.SERVFAIL
    message = await ask(question(), "127.0.0.1", timeout=5, port=upstream.port)
    assert texts(message) == ["10.12.0.1"]


async def test_a_tcp_connection_takes_several_questions(server: DnsServer, upstream: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    wires = [question(name).to_wire() for name in ("gw-paris.home.wg", "gw-berlin.home.wg", "www.example.org")]
    writer.write(b"".join(struct.pack("!H", len(wire)) + wire for wire in wires))
    found = []
    for _ in wires:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        found += texts(dns.message.from_wire(await reader.readexactly(length)))
    assert found == ["10.12.0.1", "10.11.0.1", "192.0.2.1"]
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0", b"\xff\xff" + b"x" * 70000, b"\0\5hello", b"\x00\x40half"])
async def test_nonsense_on_tcp_ends_the_connection(server: DnsServer, upstream: Any, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    try:
        writer.write(data)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionError:
        pass
    writer.close()
    message = await dns.asyncquery.tcp(question(), "127.0.0.1", timeout=5, port=upstream.port)
    assert texts(message) == ["10.12.0.1"]


async def test_a_silent_connection_is_closed(server: DnsServer, upstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_server, "IDLE", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_one_asker_has_few_connections(server: DnsServer, upstream: Any) -> None:
    connections = [
        await asyncio.open_connection("127.0.0.1", upstream.port) for _ in range(dns_server.CONNECTIONS_EACH)
    ]
    wire = question().to_wire()
    for reader, writer in connections:
        writer.write(struct.pack("!H", len(wire)) + wire)
        await reader.readexactly(2)
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    for _, one in connections:
        one.close()
        await one.wait_closed()

    async with asyncio.timeout(5):
        while True:  # until the server has seen one of them end
            with contextlib.suppress(EOFError, ConnectionError):
                message = await dns.asyncquery.tcp(question(), "127.0.0.1", timeout=5, port=upstream.port)
                assert texts(message) == ["10.12.0.1"]
                break


async def test_strangers_are_refused_and_forward_nothing(server: DnsServer, upstream: Any) -> None:
    for name in ("gw-paris.home.wg", "www.example.org"):
        answer = server.answer_now(question(name).to_wire(), STRANGER, tcp=False)
        assert isinstance(answer, bytes)
        assert dns.message.from_wire(answer).rcode() == dns.rcode.REFUSED
        assert len(answer) <= len(question(name).to_wire())
    assert upstream.asked == []


async def test_who_asks_too_much_waits_and_others_do_not(server: DnsServer, clock: Clock) -> None:
    taken = sum(server.allowed(MEMBER) for _ in range(2000))
    assert taken == 600
    assert server.allowed(IPv4Address("10.11.0.1"))
    strangers = sum(server.allowed(STRANGER + number) for number in range(2000))
    assert strangers == 600
    clock.now += 1
    assert sum(server.allowed(MEMBER) for _ in range(2000)) == 300


async def test_a_flood_of_datagrams_is_cut_and_the_server_lives(server: DnsServer, upstream: Any, clock: Clock) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        wire = question().to_wire()
        for _ in range(1000):
            plain.sendto(wire, ("127.0.0.1", upstream.port))
            await asyncio.sleep(0)  # the server reads it
        for _ in range(10):
            await asyncio.sleep(0)
        clock.now += 10
        last = dns.message.make_query("gw-berlin.home.wg", "A", id=4711)
        answers = 0
        async with asyncio.timeout(10):
            plain.sendto(last.to_wire(), ("127.0.0.1", upstream.port))
            while True:
                data = await asyncio.get_running_loop().sock_recv(plain, 2000)
                if struct.unpack_from("!H", data)[0] == 4711 and texts(dns.message.from_wire(data)) == ["10.11.0.1"]:
                    break
                answers += 1
    assert answers == 600


async def test_one_asker_has_few_questions_on_their_way(server: DnsServer, upstream: Any) -> None:
    upstream.reply = lambda query, tcp: None
    queries = [
        server.answer_now(question(f"host{number}.example.org").to_wire(), MEMBER, tcp=False)
        for number in range(dns_server.WAITING_EACH + 1)
    ]
    waiting = [asyncio.create_task(server.forward(one, MEMBER, False)) for one in queries if isinstance(one, Query)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    done = [dns.message.from_wire(task.result()).rcode() for task in waiting if task.done()]
    assert done == [dns.rcode.SERVFAIL]
    answers = await asyncio.gather(*waiting)
    assert len(answers) == dns_server.WAITING_EACH + 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wire=st.binary(max_size=300), tcp=st.booleans())
def test_any_bytes_from_anybody(make_zone: Callable[..., Zone], wire: bytes, tcp: bool) -> None:
    async def resolvers() -> list[Address]:
        return []

    zone = make_zone()
    server = DnsServer(lambda: zone, Forwarder(resolvers), owner)
    for source in (MEMBER, STRANGER):
        assert isinstance(server.answer_now(wire, source, tcp), bytes | Query | None)


async def test_random_datagrams_leave_no_traceback(
    server: DnsServer, upstream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    good = question().to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.connect(("127.0.0.1", upstream.port))
        for number in range(300):
            wire = bytearray(good if number % 2 else os.urandom(40))
            wire[number % len(wire)] ^= 1 << number % 8
            plain.send(wire[: number % 50])
            await asyncio.sleep(0)  # the server reads it
        plain.send(b"x" * 5000)
    message = await dns.asyncquery.udp(question(), "127.0.0.1", timeout=5, port=upstream.port)
    assert texts(message) == ["10.12.0.1"]
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
async def test_a_port_that_is_taken_names_its_owner_and_leaves_nothing_open(
    zone: Zone, free_port: int, kind: socket.SocketKind
) -> None:
    async def resolvers() -> list[Address]:
        return []

    server = DnsServer(lambda: zone, Forwarder(resolvers), owner)
    with socket.socket(socket.AF_INET, kind) as plain:
        plain.bind(("127.0.0.1", free_port))
        if kind == socket.SOCK_STREAM:
            plain.listen()
        with pytest.raises(
            Failed, match=rf"port {free_port} of 127\.0\.0\.1 is taken by .* \(pid {os.getpid()}\)"
        ) as told:
            await server.start([IPv6Address("::1"), LOOPBACK], free_port)
        assert "--dns off" in told.value.fix
        for family, address in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
            for other in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                if (family, other) != (socket.AF_INET, kind):
                    with socket.socket(family, other) as free:
                        free.bind((address, free_port))
    await server.start([IPv6Address("::1"), LOOPBACK], free_port)
    message = await dns.asyncquery.udp(question(), "127.0.0.1", timeout=5, port=free_port)
    assert texts(message) == ["10.12.0.1"]
    await server.stop()


async def test_an_address_that_is_not_here_yet_is_listened_on(zone: Zone, free_port: int) -> None:
    async def resolvers() -> list[Address]:
        return []

    server = DnsServer(lambda: zone, Forwarder(resolvers), owner)
    await server.start([IPv4Address("192.0.2.77"), IPv6Address("2001:db8::77")], free_port)
    await server.stop()


async def test_changes_of_the_members_show_at_once(make_zone: Callable[..., Zone], free_port: int) -> None:
    async def resolvers() -> list[Address]:
        return []

    zones = [make_zone()]
    server = DnsServer(lambda: zones[0], Forwarder(resolvers), owner)
    await server.start([LOOPBACK], free_port)
    zones[0] = make_zone(domain="office.wg")
    message = await dns.asyncquery.udp(question("gw-paris.office.wg"), "127.0.0.1", timeout=5, port=free_port)
    assert texts(message) == ["10.12.0.1"]
    await server.stop()
