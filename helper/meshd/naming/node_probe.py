"""Whether a node's DNS answers for the mesh. By hand and not with dnspython, which only nodes have."""

from __future__ import annotations

import asyncio
import os
import struct
from ipaddress import IPv4Address, IPv6Address

PATIENCE = 1.0
"""Seconds for one try, of two."""

_SOA, _IN = 6, 1
_RESPONSE, _AUTHORITATIVE, _RCODE = 0x8000, 0x0400, 0x000F


def question(domain: str, number: int) -> bytes:
    """Asks for the SOA record of a domain (RFC 1035 section 4.1)."""
    labels = b"".join(bytes([len(label)]) + label for label in domain.encode("ascii").strip(b".").split(b"."))
    return struct.pack("!6H", number, 0, 1, 0, 0, 0) + labels + struct.pack("!B2H", 0, _SOA, _IN)


def is_answer(asked: bytes, wire: bytes) -> bool:
    """Whether this is an answer to it, with authority and without an error."""
    if len(wire) < len(asked) or wire[:2] != asked[:2] or wire[12 : len(asked)].lower() != asked[12:].lower():
        return False
    flags, questions, answers = struct.unpack_from("!3H", wire, 2)
    good = flags & (_RESPONSE | _AUTHORITATIVE | _RCODE) == _RESPONSE | _AUTHORITATIVE
    return bool(good and questions == 1 and answers >= 1)


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, asked: bytes) -> None:
        self._asked = asked
        self.good = asyncio.Event()

    def datagram_received(self, data: bytes, address: object) -> None:
        if is_answer(self._asked, data):
            self.good.set()

    def error_received(self, error: Exception) -> None:
        """A closed port or no route: no answer, then."""


async def answers(server: IPv4Address | IPv6Address, domain: str, port: int = 53, patience: float = PATIENCE) -> bool:
    """Whether that server speaks for the domain; two tries of `patience` seconds. Never raises for what is foreign."""
    asked = question(domain, int.from_bytes(os.urandom(2), "big"))
    loop = asyncio.get_running_loop()
    try:
        transport, listener = await loop.create_datagram_endpoint(
            lambda: _Answers(asked), remote_addr=(str(server), port)
        )
    except OSError:  # no route
        return False
    try:
        for _ in range(2):
            transport.sendto(asked)
            try:
                async with asyncio.timeout(patience):
                    await listener.good.wait()
                return True
            except TimeoutError:
                continue
        return False
    finally:
        transport.close()
