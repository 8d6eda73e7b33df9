"""The cluster key, `meshkey1-<secret>-<ca fingerprint>`: lets a machine join as a node (DESIGN.md section 5).

The secret's part ends in a checksum over secret and fingerprint, so that a mistyped key is told from a wrong one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from dataclasses import dataclass

from meshproto import base32
from meshproto.format_error import FormatError

PREFIX = "meshkey1-"
SECRET_BYTES = 32
CHECKSUM_BYTES = 3
"""Fills the secret's 32 bytes up to 35, which base32 writes in exactly 56 characters."""

_SECRET_TEXT = (SECRET_BYTES + CHECKSUM_BYTES) * 8 // 5
_FINGERPRINT_TEXT = 52  # 32 bytes in base32
_PROOF_LABEL = b"meshd-join-proof-1"
_COPY_AGAIN = "copy the whole key again from `meshctl key show` on a node"


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """`secret` is what nodes share, `fingerprint` the SHA-256 of the mesh CA's certificate. `text()` shows both."""

    secret: bytes
    fingerprint: bytes

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES or len(self.fingerprint) != hashlib.sha256().digest_size:
            raise ValueError("a cluster key is a secret and a fingerprint of 32 bytes each")

    @classmethod
    def generate(cls, ca_der: bytes) -> ClusterKey:
        """A new random secret for the mesh with this CA certificate."""
        return cls(secrets.token_bytes(SECRET_BYTES), hashlib.sha256(ca_der).digest())

    @classmethod
    def parse(cls, text: str) -> ClusterKey:
        """Reads the text form; raises FormatError that says whether it is cut short, edited, newer or no key."""
        parts = _split(text)
        if len(parts) != 2:
            kind = "cut short" if len(parts) < 2 else "longer than a key is"
            raise FormatError(f"the cluster key is {kind}", _COPY_AGAIN, "key-truncated")
        for part, length in zip(parts, (_SECRET_TEXT, _FINGERPRINT_TEXT), strict=True):
            if len(part) < length:
                raise FormatError("the cluster key is cut short", _COPY_AGAIN, "key-truncated")
            if len(part) > length:
                raise FormatError("the cluster key has characters too many", _COPY_AGAIN, "key-edited")
        try:
            guarded, fingerprint = base32.decode(parts[0]), base32.decode(parts[1])
        except ValueError:
            raise FormatError(
                "the cluster key was edited or mistyped: it holds a character that no key has",
                _COPY_AGAIN,
                "key-edited",
            ) from None
        secret, checksum = guarded[:SECRET_BYTES], guarded[SECRET_BYTES:]
        if checksum != _checksum(secret, fingerprint) or base32.encode(fingerprint) != parts[1]:
            raise FormatError(
                "the cluster key was edited or mistyped: its secret and its fingerprint don't belong together",
                _COPY_AGAIN,
                "key-edited",
            )
        return cls(secret, fingerprint)

    def text(self) -> str:
        """The key itself, for the person who asked for it."""
        guarded = self.secret + _checksum(self.secret, self.fingerprint)
        return f"{PREFIX}{base32.encode(guarded)}-{base32.encode(self.fingerprint)}"

    def matches(self, ca_der: bytes) -> bool:
        """Whether this CA certificate is the one that the key names."""
        return hmac.compare_digest(self.fingerprint, hashlib.sha256(ca_der).digest())

    def __str__(self) -> str:
        return f"meshkey1-(hidden)-{base32.encode(self.fingerprint)}"

    def __repr__(self) -> str:
        return f"ClusterKey({self})"


def is_cluster_key(text: str) -> bool:
    """Whether a text means to be a cluster key, good or not: tells it from an invite."""
    return text.strip().lower().startswith("meshkey")


def proof(
    secret: bytes,
    nonce: bytes,
    ca_der: bytes,
    server_certificate_der: bytes,
    wireguard_public_key: bytes,
    csr_der: bytes,
) -> bytes:
    """What a joiner sends instead of the secret: HMAC-SHA-256 over everything that the two ends must agree on."""
    mac = hmac.new(secret, digestmod=hashlib.sha256)
    for field in (_PROOF_LABEL, nonce, ca_der, server_certificate_der, wireguard_public_key, csr_der):
        mac.update(len(field).to_bytes(4, "big") + field)
    return mac.digest()


def proof_matches(expected: bytes, given: bytes) -> bool:
    """Compares in a time that tells nothing."""
    return hmac.compare_digest(expected, given)


def _checksum(secret: bytes, fingerprint: bytes) -> bytes:
    return hashlib.sha256(b"meshd-key-checksum-1" + secret + fingerprint).digest()[:CHECKSUM_BYTES]


def _split(text: str) -> list[str]:
    """The parts after the prefix, in lower case. White space inside is dropped: terminals and mails wrap lines."""
    if len(text) > 4096:
        raise FormatError("that is too long for a cluster key", _COPY_AGAIN, "key-edited")
    plain = "".join(text.split()).lower()
    if plain.startswith(PREFIX):
        return plain.removeprefix(PREFIX).split("-")
    if PREFIX.startswith(plain) and plain:
        raise FormatError("the cluster key is cut short", _COPY_AGAIN, "key-truncated")
    rest = plain.removeprefix("meshkey")
    version, _, _ = rest.partition("-")
    if plain.startswith("meshkey") and version and set(version) <= set(string.digits):
        raise FormatError(
            "the cluster key is of a newer kind than this version reads", "upgrade meshtui here", "key-newer"
        )
    raise FormatError("that is not a cluster key", "a cluster key starts with meshkey1-", "key-unreadable")
