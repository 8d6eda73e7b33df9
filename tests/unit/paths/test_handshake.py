"""The handshake test against a responder written from the paper; tests/lab/test_paths.py has the real WireGuard."""

from __future__ import annotations

import asyncio
import hmac
import os
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2s
from ipaddress import ip_address

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st
from meshd.paths.handshake import INITIATION_LENGTH, RESPONSE_LENGTH, Initiation, try_endpoint, try_endpoints
from meshproto.keys import PrivateKey

ASKER = PrivateKey.from_random(bytes(range(32)))
ANSWERER = PrivateKey.from_random(bytes(range(32, 64)))
STRANGER = PrivateKey.from_random(bytes(range(64, 96)))
LOOPBACK = ip_address("127.0.0.1")


def kdf(key: bytes, data: bytes, count: int) -> list[bytes]:
    secret, keys, last = hmac.new(key, data, blake2s).digest(), [], b""
    for number in range(count):
        last = hmac.new(secret, last + bytes([number + 1]), blake2s).digest()
        keys.append(last)
    return keys


def respond(message: bytes, own: PrivateKey) -> tuple[bytes, bytes, int]:
    """(response, the initiator's public key, its time as Unix seconds): the responder's half of section 5.4."""
    mine = X25519PrivateKey.from_private_bytes(own.data)
    chain = blake2s(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s").digest()
    hashed = blake2s(blake2s(chain + b"WireGuard v1 zx2c4 Jason@zx2c4.com").digest() + own.public.data).digest()
    proof = blake2s(message[:116], key=blake2s(b"mac1----" + own.public.data).digest(), digest_size=16).digest()
    assert message[116:132] == proof
    their_ephemeral = X25519PublicKey.from_public_bytes(message[8:40])
    chain = kdf(chain, message[8:40], 1)[0]
    hashed = blake2s(hashed + message[8:40]).digest()
    chain, key = kdf(chain, mine.exchange(their_ephemeral), 2)
    static = ChaCha20Poly1305(key).decrypt(bytes(12), message[40:88], hashed)
    hashed = blake2s(hashed + message[40:88]).digest()
    their_static = X25519PublicKey.from_public_bytes(static)
    chain, key = kdf(chain, mine.exchange(their_static), 2)
    stamp = ChaCha20Poly1305(key).decrypt(bytes(12), message[88:116], hashed)
    hashed = blake2s(hashed + message[88:116]).digest()

    ephemeral = X25519PrivateKey.from_private_bytes(os.urandom(32))
    public = ephemeral.public_key().public_bytes_raw()
    chain = kdf(chain, public, 1)[0]
    hashed = blake2s(hashed + public).digest()
    chain = kdf(chain, ephemeral.exchange(their_ephemeral), 1)[0]
    chain = kdf(chain, ephemeral.exchange(their_static), 1)[0]
    chain, middle, key = kdf(chain, bytes(32), 3)
    hashed = blake2s(hashed + middle).digest()
    empty = ChaCha20Poly1305(key).encrypt(bytes(12), b"", hashed)
    response = b"\x02\0\0\0" + os.urandom(4) + message[4:8] + public + empty + bytes(32)
    return response, static, struct.unpack(">Q", stamp[:8])[0] - 0x400000000000000A


def initiation(now: float = 1_800_000_000.25) -> Initiation:
    return Initiation(ASKER, ANSWERER.public, 7, os.urandom(32), now)


def test_the_responder_reads_the_initiation_and_its_answer_is_accepted() -> None:
    asked = initiation()
    assert len(asked.message) == INITIATION_LENGTH
    response, asker, at = respond(asked.message, ANSWERER)
    assert (asker, at) == (ASKER.public.data, 1_800_000_000)
    assert len(response) == RESPONSE_LENGTH
    assert asked.answered_by(response)


def test_an_answer_to_another_initiation_is_not_accepted() -> None:
    response, _, _ = respond(initiation().message, ANSWERER)
    assert not initiation().answered_by(response)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_no_answer(data: bytes) -> None:
    assert not initiation().answered_by(data)
    assert not initiation().answered_by(b"\x02\0\0\0AAAA\x07\0\0\0" + data[:80].ljust(80, b"\0"))


@given(st.integers(0, 59), st.integers(1, 255))
def test_a_changed_byte_makes_it_no_answer(place: int, flip: int) -> None:
    """The sender's index (bytes 4 to 8) is the responder's to choose; everything else up to the tag counts."""
    asked = initiation()
    response = bytearray(respond(asked.message, ANSWERER)[0])
    response[place] ^= flip
    assert asked.answered_by(bytes(response)) == (4 <= place < 8)


class Responder(asyncio.DatagramProtocol):
    """Leaves the first `deaf` initiations without an answer."""

    def __init__(self, key: PrivateKey, deaf: int = 0) -> None:
        self.key, self.deaf, self.heard = key, deaf, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: object) -> None:
        self.heard += 1
        if self.heard > self.deaf:
            self.transport.sendto(b"noise", address)  # type: ignore[attr-defined]
            self.transport.sendto(respond(data, self.key)[0], address)  # type: ignore[attr-defined]


@asynccontextmanager
async def listening(responder: Responder) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: responder, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def test_the_round_trip_is_measured_and_noise_is_passed_over() -> None:
    began = time.monotonic()
    async with listening(Responder(ANSWERER)) as port:
        trip = await try_endpoint(ASKER, ANSWERER.public, LOOPBACK, port, 5)
    assert trip is not None
    assert 0 < trip <= time.monotonic() - began


async def test_a_lost_initiation_is_sent_again() -> None:
    responder = Responder(ANSWERER, deaf=1)
    async with listening(responder) as port:
        assert await try_endpoint(ASKER, ANSWERER.public, LOOPBACK, port, 5) is not None
    assert responder.heard == 2


async def test_whoever_does_not_answer_is_left_out() -> None:
    deaf = Responder(ANSWERER, deaf=99)
    async with listening(deaf) as silent, listening(Responder(ANSWERER)) as port:
        trips = await try_endpoints(ASKER, ANSWERER.public, [(LOOPBACK, silent), (LOOPBACK, port)], 0.5)
    assert list(trips) == [(LOOPBACK, port)]


async def test_a_closed_port_is_no_answer() -> None:
    async with listening(Responder(ANSWERER)) as port:
        pass
    assert await try_endpoint(ASKER, ANSWERER.public, LOOPBACK, port, 0.4) is None
