"""A recording: what meshd said, with the moments when. A file of `Watch` updates, which hold no secret.

`meshtui --record` writes one, `meshctl report` a short one; `meshtui --replay` shows both.

Packed with gzip: first a line that names the format, then records of 8 bytes Unix ms, 4 bytes length (both
big-endian), and a WatchUpdate, shortened as figures.py has it. Files of the first format are the same without gzip.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from meshproto import VERSION

FORMAT = 2
MAGIC = b"meshtui recording %d\n" % FORMAT
OLD_MAGIC = b"meshtui recording 1\n"
PACKED = b"\x1f\x8b"
"""How gzip begins, RFC 1952."""
HEAD = struct.Struct(">QI")
LONGEST = 64 * 1024 * 1024
"""Bytes of one update: a snapshot of 3,000 members has about one million."""
EFFORT = 6


class NoRecording(Exception):
    """Raised when a file can't be written, or is no recording. `str()` says which file and why."""


class Recorder:
    """Writes to a new file that only its owner reads. What was written is in the file when `write` returns, so that a
    crash loses nothing of it."""

    def __init__(self, path: Path) -> None:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise NoRecording(f"{path} exists already; choose another name") from None
        except OSError as error:
            raise NoRecording(f"{path} can't be written: {error.strerror}") from None
        self._file: BinaryIO = os.fdopen(handle, "wb", buffering=0)
        # Not GzipFile: after a failed write it would write once more when it is closed.
        self._packer = zlib.compressobj(EFFORT, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self._put(MAGIC)

    def write(self, at_ms: int, update: bytes) -> None:
        """Nothing once it is closed: the last update may come while the program ends. Raises OSError."""
        if not self._file.closed:
            self._put(HEAD.pack(at_ms, len(update)) + update)

    def _put(self, data: bytes) -> None:
        packed = memoryview(self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH))
        while packed:
            packed = packed[self._file.write(packed) :]

    def close(self) -> None:
        """Without the end of the gzip where the disk is full."""
        if not self._file.closed:
            with contextlib.suppress(OSError):
                self._file.write(self._packer.flush())
            self._file.close()


def read(path: Path) -> Iterator[tuple[int, bytes]]:
    """(Unix ms, serialized WatchUpdate as it was written); a record that was cut off at the end is left out. Raises
    NoRecording."""
    try:
        with open(path, "rb") as file:
            packed = file.read(len(PACKED)) == PACKED
            file.seek(0)
            plain = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file
            first = _some(plain, len(MAGIC))
            named = re.fullmatch(rb"meshtui recording ([1-9])\n", first)
            if named is not None and int(named[1]) > FORMAT:
                raise NoRecording(
                    f"{path} has format {int(named[1])} of a later release, meshtui {VERSION} reads up to {FORMAT}; "
                    "show it with that release"
                )
            if first != (MAGIC if packed else OLD_MAGIC):
                raise NoRecording(f"{path} is no recording of meshtui")
            at = len(MAGIC)
            while len(head := _some(plain, HEAD.size)) == HEAD.size:
                at_ms, length = HEAD.unpack(head)
                at += HEAD.size + length
                if length > LONGEST:
                    raise NoRecording(f"{path.name} is damaged at byte {at - length}")
                if len(update := _some(plain, length)) < length:
                    return
                yield at_ms, update
    except (gzip.BadGzipFile, zlib.error):
        raise NoRecording(f"{path.name} is damaged") from None
    except OSError as error:
        raise NoRecording(f"{path} can't be read: {error.strerror}") from None


def _some(file: IO[bytes], count: int) -> bytes:
    """At most `count` bytes; fewer at the end, also where that is missing."""
    parts, left = [], count
    while left:
        try:
            part = file.read1(left) if isinstance(file, gzip.GzipFile) else file.read(left)
        except EOFError:
            break
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
