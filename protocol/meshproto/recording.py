"""A recording: what meshd said, with the moments when. A file of `Watch` updates, which hold no secret.

`meshtui --record` writes one, `meshctl report` a short one; `meshtui --replay` shows both.

First a line that names the format, then records: 8 bytes Unix ms, 4 bytes length (both big-endian), a WatchUpdate.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MAGIC = b"meshtui recording 1\n"
HEAD = struct.Struct(">QI")
LONGEST = 64 * 1024 * 1024
"""Bytes of one update: a snapshot of 3,000 members has about one million."""


class NoRecording(Exception):
    """Raised when a file can't be written, or is no recording. `str()` says which file and why."""


class Recorder:
    """Writes to a new file that only its owner reads."""

    def __init__(self, path: Path) -> None:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise NoRecording(f"{path} exists already; choose another name") from None
        except OSError as error:
            raise NoRecording(f"{path} can't be written: {error.strerror}") from None
        self._file: BinaryIO = os.fdopen(handle, "wb", buffering=0)
        self._file.write(MAGIC)

    def write(self, at_ms: int, update: bytes) -> None:
        """Nothing once it is closed: the last update may come while the program ends."""
        if not self._file.closed:
            self._file.write(HEAD.pack(at_ms, len(update)) + update)

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[tuple[int, bytes]]:
    """(Unix ms, serialized WatchUpdate); a record that was cut off at the end is left out. Raises NoRecording."""
    try:
        with open(path, "rb") as file:
            if file.readline(len(MAGIC)) != MAGIC:
                raise NoRecording(f"{path} is no recording of meshtui")
            while len(head := file.read(HEAD.size)) == HEAD.size:
                at_ms, length = HEAD.unpack(head)
                if length > LONGEST:
                    raise NoRecording(f"{path.name} is damaged at byte {file.tell()}")
                if len(update := file.read(length)) < length:
                    return
                yield at_ms, update
    except OSError as error:
        raise NoRecording(f"{path} can't be read: {error.strerror}") from None
