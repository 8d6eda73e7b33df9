"""Which resolvers are silent, asked on loopback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

import dns.message
import dns.rcode
from meshd.naming.resolver_probe import find_silent


async def test_only_who_says_nothing_is_silent(make_upstream: Callable[..., Awaitable[Any]]) -> None:
    good, refusing, silent = [await make_upstream(f"127.0.1.{number}") for number in (1, 2, 3)]

    def refuse(query: dns.message.Message, tcp: bool) -> bytes:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.REFUSED)
        return response.to_wire()

    refusing.reply = refuse
    silent.reply = lambda query, tcp: None
    closed = ip_address("127.0.1.4")
    resolvers = [ip_address(one.address) for one in (good, refusing, silent)] + [closed]
    assert await find_silent(resolvers, port=good.port, wait=0.2) == [ip_address("127.0.1.3"), closed]
    assert len(silent.asked) == 2
    assert await find_silent([]) == []


async def test_one_lost_datagram_is_no_silence(make_upstream: Callable[..., Awaitable[Any]]) -> None:
    upstream = await make_upstream()
    upstream.reply = lambda query, tcp: None if len(upstream.asked) == 1 else upstream.usual(query).to_wire()
    assert await find_silent([ip_address(upstream.address)], port=upstream.port, wait=0.2) == []
