"""Tests with one WireGuard handshake whether a member's port answers from here, without touching a live session.

The handshake runs on a socket of its own, under a temporary key that the other side lets in for a moment with no
allowed-ips. Message formats: the WireGuard paper (Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel"),
section 5.4; Noise_IKpsk2 with an empty preshared key.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import struct
import time
from collections.abc import Sequence
from hashlib import blake2s
from ipaddress import IPv4Address, IPv6Address

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from meshproto.keys import PrivateKey, PublicKey

Address = IPv4Address | IPv6Address

INITIATION_LENGTH = 148
RESPONSE_LENGTH = 92
TRY_EVERY = 0.3
"""Seconds between two initiations to one endpoint: one may get lost."""

STAGGER = 0.05
"""Seconds between the first initiations to two endpoints. WireGuard drops a second one of the same key within 20 ms,
and two endpoints may lead to the same machine."""

_CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
_IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
_TAI_OFFSET = 0x400000000000000A  # TAI64 label of the Unix epoch


def _hash(*parts: bytes) -> bytes:
    return blake2s(b"".join(parts)).digest()


def _derive(key: bytes, data: bytes, count: int) -> list[bytes]:
    """HKDF with HMAC-BLAKE2s: `count` keys of 32 bytes."""
    secret = hmac.new(key, data, blake2s).digest()
    keys, last = [], b""
    for number in range(1, count + 1):
        last = hmac.new(secret, last + bytes([number]), blake2s).digest()
        keys.append(last)
    return keys


def _seal(key: bytes, text: bytes, hashed: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(bytes(12), text, hashed)


def _tai64n(now: float) -> bytes:
    seconds = int(now)
    return struct.pack(">QI", _TAI_OFFSET + seconds, int((now - seconds) * 1e9))


class Initiation:
    """One initiation, and what is needed to check the response to it."""

    def __init__(self, key: PrivateKey, responder: PublicKey, index: int, ephemeral: bytes, now: float) -> None:
        """`ephemeral` is 32 random bytes, `now` Unix seconds: later with each initiation of one key."""
        self._static = X25519PrivateKey.from_private_bytes(key.data)
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        self._index = struct.pack("<I", index)
        theirs = X25519PublicKey.from_public_bytes(responder.data)
        public = self._ephemeral.public_key().public_bytes_raw()
        chain = _hash(_CONSTRUCTION)
        hashed = _hash(_hash(chain, _IDENTIFIER), responder.data)
        (chain,) = _derive(chain, public, 1)
        hashed = _hash(hashed, public)
        chain, secret = _derive(chain, self._ephemeral.exchange(theirs), 2)
        static = _seal(secret, key.public.data, hashed)
        hashed = _hash(hashed, static)
        chain, secret = _derive(chain, self._static.exchange(theirs), 2)
        timestamp = _seal(secret, _tai64n(now), hashed)
        self._chain, self._hashed = chain, _hash(hashed, timestamp)
        message = b"\x01\0\0\0" + self._index + public + static + timestamp
        proof = blake2s(message, key=_hash(b"mac1----", responder.data), digest_size=16).digest()
        self.message = message + proof + bytes(16)

    def answered_by(self, message: bytes) -> bool:
        """Whether this is the response that only the owner of the responder's key can have made."""
        if len(message) != RESPONSE_LENGTH or message[:4] != b"\x02\0\0\0" or message[8:12] != self._index:
            return False
        ephemeral = message[12:44]
        try:
            theirs = X25519PublicKey.from_public_bytes(ephemeral)
            (chain,) = _derive(self._chain, ephemeral, 1)
            hashed = _hash(self._hashed, ephemeral)
            (chain,) = _derive(chain, self._ephemeral.exchange(theirs), 1)
            (chain,) = _derive(chain, self._static.exchange(theirs), 1)
        except ValueError:  # a point of low order
            return False
        _, middle, secret = _derive(chain, bytes(32), 3)
        try:
            ChaCha20Poly1305(secret).decrypt(bytes(12), message[44:60], _hash(hashed, middle))
        except InvalidTag:
            return False
        return True


class _Listener(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue(8)

    def datagram_received(self, data: bytes, address: object) -> None:
        if not self.received.full():
            self.received.put_nowait(data)

    def error_received(self, error: Exception) -> None:
        """A closed port or no route: no answer, then."""


async def try_endpoint(
    key: PrivateKey, responder: PublicKey, address: Address, port: int, timeout: float
) -> float | None:
    """The round trip in seconds when the responder's WireGuard answers there within `timeout` seconds, else None."""
    loop = asyncio.get_running_loop()
    try:
        transport, listener = await loop.create_datagram_endpoint(_Listener, remote_addr=(str(address), port))
    except OSError:
        return None
    sent: list[tuple[Initiation, float]] = []
    deadline = loop.time() + timeout
    try:
        while loop.time() < deadline:
            index = int.from_bytes(os.urandom(4), "big")
            initiation = Initiation(key, responder, index, os.urandom(32), time.time())
            sent.append((initiation, loop.time()))
            transport.sendto(initiation.message)
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + TRY_EVERY)):
                    while True:
                        message = await listener.received.get()
                        for initiation, at in sent:
                            if initiation.answered_by(message):
                                return loop.time() - at
            except TimeoutError:
                continue
        return None
    finally:
        transport.close()


async def try_endpoints(
    key: PrivateKey, responder: PublicKey, endpoints: Sequence[tuple[Address, int]], timeout: float
) -> dict[tuple[Address, int], float]:
    """Those of the endpoints that answer, with the round trip in seconds; all are tested at once."""

    async def one(place: int, address: Address, port: int) -> float | None:
        await asyncio.sleep(place * STAGGER)
        return await try_endpoint(key, responder, address, port, timeout - place * STAGGER)

    trips = await asyncio.gather(*(one(place, *endpoint) for place, endpoint in enumerate(endpoints)))
    return {endpoint: trip for endpoint, trip in zip(endpoints, trips, strict=True) if trip is not None}
