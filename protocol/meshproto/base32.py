"""Base32 (RFC 4648) in lower case without padding, as cluster keys, invites and fingerprints use it."""

from __future__ import annotations

import base64
import binascii


def encode(data: bytes) -> str:
    """Lower-case text without `=`."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def decode(text: str) -> bytes:
    """Reads text of any length in either case, dropping what is left of the last byte.

    Raises ValueError for a character that base32 does not have.
    """
    if not text.isascii():
        raise ValueError("not base32")
    # Lengths of 1, 3 and 6 over a multiple of 8 can't come from whole bytes: without their last character they can.
    rest = len(text) % 8
    whole = text[:-1] if rest in {1, 3, 6} else text
    if rest in {1, 3, 6} and text[-1].lower() not in "abcdefghijklmnopqrstuvwxyz234567":
        raise ValueError("not base32")
    try:
        return base64.b32decode(whole.upper() + "=" * (-len(whole) % 8))
    except binascii.Error as error:
        raise ValueError("not base32") from error
