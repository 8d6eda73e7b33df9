"""The past of a mesh's members as a file, so that it outlives a restart of meshd: 3.8 kB a member before it is packed.

8 bytes magic, 32 bytes SHA-256 of the rest, zlib of a WatchUpdate with `past` and `days`. No I/O.
"""

from __future__ import annotations

import hashlib
import re
import zlib

from google.protobuf.message import DecodeError
from meshproto import local_pb2

from meshd.store.formats import NewerFormat

FORMAT = 1

MAGIC = b"meshpas%d" % FORMAT
LONGEST = 256 * 1024 * 1024
"""Bytes that a file unpacks to at most: what 70,000 members take."""


class DamagedPast(ValueError):
    """Raised when bytes are no file of the past; the text says what is wrong."""


def encode(past: local_pb2.WatchUpdate) -> bytes:
    body = zlib.compress(past.SerializeToString(), 1)
    return MAGIC + hashlib.sha256(body).digest() + body


def decode(data: bytes) -> local_pb2.WatchUpdate:
    """Raises DamagedPast and NewerFormat."""
    magic, digest, body = data[:8], data[8:40], data[40:]
    named = re.fullmatch(rb"meshpas([1-9])", magic)
    if named is not None and int(named[1]) > FORMAT:
        raise NewerFormat("the past", int(named[1]), FORMAT)
    if magic != MAGIC:
        raise DamagedPast("not a file of the past")
    if hashlib.sha256(body).digest() != digest:
        raise DamagedPast("the checksum is wrong")
    try:
        return local_pb2.WatchUpdate.FromString(zlib.decompressobj().decompress(body, LONGEST))
    except (DecodeError, zlib.error) as error:
        raise DamagedPast("not a past") from error
