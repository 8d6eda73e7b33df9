"""Whether the machine's resolvers answer at all; for `doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import dns.message
import dns.rdatatype

from meshd.naming.forwarding import WAIT, ask_udp
from meshd.naming.zone import Address


async def find_silent(resolvers: Sequence[Address], *, port: int = 53, wait: float = WAIT) -> list[Address]:
    """Those that answer nothing, not even a refusal, twice in `wait` seconds each. All are asked at once."""
    answered = await asyncio.gather(*(_answers(one, port, wait) for one in resolvers))
    return [one for one, good in zip(resolvers, answered, strict=True) if not good]


async def _answers(resolver: Address, port: int, wait: float) -> bool:
    for _ in range(2):  # one datagram may be lost
        message = dns.message.make_query(".", dns.rdatatype.NS)
        try:
            async with asyncio.timeout(wait):
                await ask_udp(resolver, message, port)
            return True
        except (OSError, TimeoutError):
            continue
    return False
