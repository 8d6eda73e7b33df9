"""Forwarding to real sockets on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

import dns.message
import dns.rcode
import pytest
from meshd.naming.forwarding import TRIES, Forwarder, Unanswered
from meshd.naming.queries import Query, read_query
from meshd.naming.zone import Address

MakeUpstream = Callable[..., Awaitable[Any]]


def asked(name: str = "www.example.org", tcp: bool = False, **options: Any) -> Query:
    query = read_query(dns.message.make_query(name, "A", **options).to_wire(), tcp)
    assert isinstance(query, Query)
    return query


def forwarder(port: int, *addresses: str, wait: float = 0.2) -> Forwarder:
    async def resolvers() -> list[Address]:
        return [ip_address(one) for one in addresses]

    return Forwarder(resolvers, port=port, wait=wait)


def addresses_in(wire: bytes) -> list[str]:
    return [one.to_text() for rrset in dns.message.from_wire(wire).answer for one in rrset]


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_question_is_answered_by_an_upstream(make_upstream: MakeUpstream, tcp: bool) -> None:
    upstream = await make_upstream()
    query = asked(tcp=tcp, id=4711)
    wire = await forwarder(upstream.port, upstream.address).resolve(query, tcp)
    assert addresses_in(wire) == ["192.0.2.1"]
    assert dns.message.from_wire(wire).id == 4711


async def test_every_question_has_its_own_id_and_port(make_upstream: MakeUpstream) -> None:
    upstream = await make_upstream()
    forward = forwarder(upstream.port, upstream.address)
    for number in range(12):
        await forward.resolve(asked(f"host{number}.example.org", id=1), False)
    assert len({message.id for message in upstream.asked}) > 9
    assert len({port for _, port in upstream.sources}) > 9


async def test_a_silent_upstream_is_passed_over_and_then_avoided(make_upstream: MakeUpstream) -> None:
    silent, good = await make_upstream("127.0.1.1"), await make_upstream("127.0.1.2")
    silent.reply = lambda query, tcp: None
    forward = forwarder(good.port, silent.address, good.address)
    assert addresses_in(await forward.resolve(asked("a.example.org"), False)) == ["192.0.2.1"]
    assert len(silent.asked) == 1
    assert addresses_in(await forward.resolve(asked("b.example.org"), False)) == ["192.0.2.1"]
    assert len(silent.asked) == 1


async def test_no_answer_ends_in_time(make_upstream: MakeUpstream) -> None:
    silent = await make_upstream()
    silent.reply = lambda query, tcp: None
    began = time.monotonic()
    with pytest.raises(Unanswered, match=r"127\.0\.1\.1"):
        await forwarder(silent.port, silent.address, wait=0.1).resolve(asked(), False)
    assert 0.3 <= time.monotonic() - began < 2
    assert len(silent.asked) == TRIES


async def test_a_closed_port_and_no_resolver_are_no_exceptions_of_their_own(free_port: int) -> None:
    with pytest.raises(Unanswered, match=r"127\.0\.1\.9"):
        await forwarder(free_port, "127.0.1.9").resolve(asked(), False)
    with pytest.raises(Unanswered, match="no resolver"):
        await forwarder(free_port).resolve(asked(), False)
    with pytest.raises(Unanswered, match="there is no interface nowhere"):
        await forwarder(free_port, "fe80::1%nowhere").resolve(asked(), False)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_a_refusal_is_passed_on_when_all_refuse(make_upstream: MakeUpstream, rcode: dns.rcode.Rcode) -> None:
    one, two = await make_upstream("127.0.1.1"), await make_upstream("127.0.1.2")

    def refuse(query: dns.message.Message, tcp: bool) -> bytes:
        response = dns.message.make_response(query)
        response.set_rcode(rcode)
        return response.to_wire()

    one.reply = two.reply = refuse
    wire = await forwarder(one.port, one.address, two.address).resolve(asked(), False)
    assert dns.message.from_wire(wire).rcode() == rcode
    assert (len(one.asked), len(two.asked)) == (1, 1)
    two.reply = None
    wire = await forwarder(one.port, one.address, two.address).resolve(asked(), False)
    assert addresses_in(wire) == ["192.0.2.1"]


async def test_no_such_name_is_an_answer(make_upstream: MakeUpstream) -> None:
    one, two = await make_upstream("127.0.1.1"), await make_upstream("127.0.1.2")

    def unknown(query: dns.message.Message, tcp: bool) -> bytes:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()

    one.reply = unknown
    wire = await forwarder(one.port, one.address, two.address).resolve(asked(), False)
    assert dns.message.from_wire(wire).rcode() == dns.rcode.NXDOMAIN
    assert two.asked == []


async def test_forged_answers_are_ignored(make_upstream: MakeUpstream) -> None:
    upstream = await make_upstream()

    def forge(query: dns.message.Message, tcp: bool) -> bytes:
        for changed in ("id", "name"):
            forged = dns.message.from_wire(query.to_wire())
            if changed == "id":
                forged.id ^= 1
            else:
                forged = dns.message.make_query("evil.example.org", "A", id=query.id)
            wire = upstream.usual(forged, "192.0.2.66").to_wire()
            upstream.transport.sendto(wire, upstream.sources[-1])
        upstream.transport.sendto(b"\xff" * 40, upstream.sources[-1])
        return bytes(upstream.usual(query).to_wire())

    upstream.reply = forge
    assert addresses_in(await forwarder(upstream.port, upstream.address).resolve(asked(), False)) == ["192.0.2.1"]
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("tcp", [True, False])
async def test_a_cut_answer_is_fetched_whole_for_who_asked_over_tcp(make_upstream: MakeUpstream, tcp: bool) -> None:
    upstream = await make_upstream()

    def cut(query: dns.message.Message, over_tcp: bool) -> bytes:
        response = upstream.usual(query)
        if not over_tcp:
            response.answer.clear()
            response.flags |= dns.flags.TC
        return bytes(response.to_wire())

    upstream.reply = cut
    wire = await forwarder(upstream.port, upstream.address).resolve(asked(tcp=tcp), tcp)
    assert addresses_in(wire) == (["192.0.2.1"] if tcp else [])


async def test_an_upstream_that_hangs_up_on_tcp_counts_as_silent(make_upstream: MakeUpstream) -> None:
    upstream = await make_upstream()

    def cut(query: dns.message.Message, over_tcp: bool) -> bytes | None:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.TC
        return None if over_tcp else response.to_wire()

    upstream.reply = cut
    with pytest.raises(Unanswered, match="closed"):
        await forwarder(upstream.port, upstream.address).resolve(asked(tcp=True), True)


async def test_equal_questions_share_one_exchange(make_upstream: MakeUpstream) -> None:
    upstream = await make_upstream()
    forward = forwarder(upstream.port, upstream.address)
    queries = [asked(id=number) for number in range(1, 21)]
    wires = await asyncio.gather(*(forward.resolve(query, False) for query in queries))
    assert len(upstream.asked) == 1
    assert [dns.message.from_wire(wire).id for wire in wires] == list(range(1, 21))


async def test_an_asker_that_goes_takes_no_answer_from_the_others(make_upstream: MakeUpstream) -> None:
    upstream = await make_upstream()
    forward = forwarder(upstream.port, upstream.address)
    first = asyncio.create_task(forward.resolve(asked(), False))
    second = asyncio.create_task(forward.resolve(asked(), False))
    await asyncio.sleep(0)
    first.cancel()
    assert addresses_in(await second) == ["192.0.2.1"]
    await asyncio.gather(first, return_exceptions=True)


async def test_too_many_at_once_are_turned_away(make_upstream: MakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshd.naming.forwarding.PARALLEL", 2)
    silent = await make_upstream()
    silent.reply = lambda query, tcp: None
    forward = forwarder(silent.port, silent.address)
    tasks = [asyncio.create_task(forward.resolve(asked(f"{number}.example.org"), False)) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unanswered, match="too many"):
        await forward.resolve(asked("another.example.org"), False)
    await forward.close()
    assert all(isinstance(one, BaseException) for one in await asyncio.gather(*tasks, return_exceptions=True))


async def test_a_question_that_comes_back_ends(free_port: int) -> None:
    """Two forwarders that name each other: the question goes round once and then waits for itself."""
    forward = forwarder(free_port, "127.0.1.1", wait=0.1)
    rounds = 0

    class Mirror(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
            nonlocal rounds
            rounds += 1
            again = read_query(data, tcp=False)
            assert isinstance(again, Query)
            returned.append(asyncio.ensure_future(forward.resolve(again, False)))

    returned: list[asyncio.Future[bytes]] = []
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Mirror, local_addr=("127.0.1.1", free_port)
    )
    with pytest.raises(Unanswered):
        await forward.resolve(asked(), False)
    await asyncio.gather(*returned, return_exceptions=True)
    transport.close()
    assert rounds == TRIES
