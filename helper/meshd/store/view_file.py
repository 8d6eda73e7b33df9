"""A member's last committed view on disk, so that it works with no node reachable, also after a reboot.

The file is: 8 bytes magic, 4 bytes format number (big endian), 32 bytes SHA-256 of the rest, the serialized View.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections.abc import Callable
from pathlib import Path

from google.protobuf.message import DecodeError
from meshproto import state_pb2

from meshd.model.errors import Failed
from meshd.store.files import write_atomically
from meshd.store.formats import NewerFormat

log = logging.getLogger(__name__)

MAGIC = b"meshview"
Reader = Callable[[bytes], state_pb2.View]
READERS: tuple[Reader, ...] = (state_pb2.View.FromString,)
"""Of each format's body, from format 1 on. Fields come and go without a new format, as protobuf allows."""
_HEADER = struct.Struct(">8sI32s")


class DamagedView(ValueError):
    """Raised when bytes are not a view file; the text says what is wrong."""


def encode_view(view: state_pb2.View) -> bytes:
    body = view.SerializeToString()
    return _HEADER.pack(MAGIC, len(READERS), hashlib.sha256(body).digest()) + body


def decode_view(data: bytes, what: object = "the view") -> state_pb2.View:
    """Raises DamagedView and NewerFormat."""
    if len(data) < _HEADER.size:
        raise DamagedView(f"only {len(data)} bytes")
    magic, number, digest = _HEADER.unpack_from(data)
    body = data[_HEADER.size :]
    if magic != MAGIC:
        raise DamagedView("not a view file")
    if number > len(READERS):
        raise NewerFormat(what, number, len(READERS))
    if number == 0:
        raise DamagedView("format 0")
    if hashlib.sha256(body).digest() != digest:
        raise DamagedView("the checksum is wrong")
    try:
        read: Reader = READERS[number - 1]
        return read(body)
    except DecodeError as error:
        raise DamagedView("not a view") from error


def save_view(path: Path, view: state_pb2.View) -> None:
    """Stores the view: the file is the old or the new one after a crash. Blocks for two fsyncs. Raises Failed."""
    try:
        write_atomically(path, encode_view(view))
    except OSError as error:
        raise Failed(f"the view can't be kept in {path}: {error.strerror}", "look for a full disk") from error


def load_view(path: Path) -> state_pb2.View | None:
    """The stored view; None when there is none, or it is damaged: then the file is kept aside as `.corrupt`.

    Raises NewerFormat.
    """
    try:
        return decode_view(path.read_bytes(), path)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.error("the view in %s can't be read: %s", path, error)
        return None
    except DamagedView as error:
        aside = path.with_name(path.name + ".corrupt")
        log.error("the view in %s is damaged (%s); it is kept as %s", path, error, aside.name)
        try:
            path.rename(aside)
        except OSError as problem:
            log.error("%s can't be renamed: %s", path, problem)
        return None
