"""One block of a mesh's names in the hosts file. Foreign lines stay as they are, byte for byte. Run it in a thread."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from meshd.model.errors import Failed

HOSTS = Path("/etc/hosts")

Entry = tuple[IPv4Address | IPv6Address, str]


def _markers(mesh: str) -> tuple[bytes, bytes]:
    return f"# meshd {mesh} begin\n".encode(), f"# meshd {mesh} end\n".encode()


def with_block(contents: bytes, mesh: str, entries: Iterable[Entry]) -> bytes:
    """The file with the mesh's block as given, and without one when there are no entries. Pure.

    A block without its end marker stops at the first line that no block of ours would hold.
    """
    begin, end = _markers(mesh)
    kept: list[bytes] = []
    inside = False
    place: int | None = None
    for line in contents.splitlines(keepends=True):
        plain = line.rstrip(b"\r\n") + b"\n"
        if plain == begin:
            inside, place = True, len(kept) if place is None else place
        elif inside and plain == end:
            inside = False
        elif inside and not re.fullmatch(rb"[0-9a-f.:]+ [a-z0-9.-]+\n", plain):
            inside = False
            kept.append(line)
        elif plain == end:
            pass  # an end without a beginning
        elif not inside:
            kept.append(line)
    lines = [f"{address} {name}\n".encode() for address, name in entries]
    if not lines:
        return b"".join(kept)
    block = [begin, *lines, end]
    if place is None:
        place = len(kept)
        if kept and not kept[-1].endswith(b"\n"):
            # The newline that is missing at the end would join our marker to a foreign line.
            kept[-1] += b"\n"
    return b"".join([*kept[:place], *block, *kept[place:]])


def write_block(mesh: str, entries: Iterable[Entry], path: Path = HOSTS) -> bool:
    """Brings the block up to date; returns whether the file changed. Raises Failed when it can't be written."""
    try:
        before = path.read_bytes()
    except FileNotFoundError:
        before = b""
    except OSError as error:
        raise Failed(f"{path} can't be read: {error.strerror}") from error
    after = with_block(before, mesh, entries)
    if after == before:
        return False
    try:
        _replace(path, after)
    except OSError as error:
        raise Failed(f"{path} can't be written: {error.strerror}", "let meshd write it, or use DNS only") from error
    return True


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".meshd")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(descriptor, data)
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            os.fchmod(descriptor, status.st_mode & 0o7777)
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        temporary.rename(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno != errno.EBUSY:  # a bind mount, as in containers, can only be written in place
            raise
        with open(path, "r+b") as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
