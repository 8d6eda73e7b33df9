"""One block of a mesh's names in the hosts file. Foreign lines stay as they are, byte for byte. Run it in a thread.

Several meshes and several helpers may write at once: the temporary file, which becomes the hosts file, is the lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from meshd.model.errors import Failed
from meshd.model.names import check_domain

HOSTS = Path("/etc/hosts")

Entry = tuple[IPv4Address | IPv6Address, str]


class ReadOnly(Failed):
    """Raised when this program may not write the hosts file."""


def _markers(mesh: str) -> tuple[bytes, bytes]:
    return f"# meshd {mesh} begin\n".encode(), f"# meshd {mesh} end\n".encode()


def with_block(contents: bytes, mesh: str, entries: Iterable[Entry]) -> bytes:
    """The file with the mesh's block as given, and without one when there are no entries. Pure.

    A block without its end marker stops at the first line that no block of ours would hold.
    Raises InvalidInput for a name that is no host name: a line end in one would speak for others.
    """
    begin, end = _markers(mesh)
    lines = [_line(*entry) for entry in entries]
    block = b"".join([begin, *lines, end]) if lines else b""
    alone = contents.count(begin[:-1]) == contents.count(end[:-1]) == 1
    if lines and alone and (contents.startswith(block) or b"\n" + block in contents):
        return contents
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
    if not lines:
        return b"".join(kept)
    if place is None:
        place = len(kept)
        if kept and not kept[-1].endswith(b"\n"):
            place -= 1  # before a last line without line end, which our marker would join
    return b"".join([*kept[:place], block, *kept[place:]])


@lru_cache(maxsize=1 << 14)
def _line(address: IPv4Address | IPv6Address, name: str) -> bytes:
    """Kept, because thousands of them are the same at each change of a large mesh."""
    return f"{address} {check_domain(name)}\n".encode()


def write_block(mesh: str, entries: Iterable[Entry], path: Path = HOSTS) -> bool:
    """Brings the block up to date; returns whether the file changed. Raises ReadOnly, or Failed."""
    entries = list(entries)
    try:
        path = path.resolve()  # what a link points to is replaced, not the link
        before = _read(path)
        if with_block(before, mesh, entries) == before:
            return False
        try:
            with _locked(path.with_name(path.name + ".meshd")) as temporary:
                before = _read(path)  # again: another mesh may have written since
                after = with_block(before, mesh, entries)
                if after != before:
                    _replace(path, temporary, after)
                return after != before
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            return _write_in_place(path, mesh, entries)  # as a service: only the file itself can be written
    except OSError as error:
        kind = ReadOnly if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else Failed
        raise kind(
            f"{path} can't be written: {error.strerror}",
            "let meshd write it (the service after somebody replaced it: systemctl restart meshd), or start it with "
            "--hosts-file off",
        ) from error


def _write_in_place(path: Path, mesh: str, entries: list[Entry]) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        before = _read(path)
        after = with_block(before, mesh, entries)
        if after != before:
            _overwrite(descriptor, after)
        return after != before
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The descriptor of the temporary file, held by nobody else; it is gone afterwards, moved or not."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is(path, descriptor):
                continue  # whoever had it has moved or removed it
            try:
                yield descriptor
            finally:
                if _is(path, descriptor):
                    path.unlink()
            return
        finally:
            os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _replace(path: Path, temporary: int, data: bytes) -> None:
    os.ftruncate(temporary, 0)
    _write(temporary, data)
    with contextlib.suppress(FileNotFoundError):
        status = path.stat()
        os.fchown(temporary, status.st_uid, status.st_gid)
        os.fchmod(temporary, status.st_mode & 0o7777)
    os.fsync(temporary)
    try:
        path.with_name(path.name + ".meshd").rename(path)
    except OSError as error:
        if error.errno != errno.EBUSY:  # a bind mount, as in containers, can only be written in place
            raise
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            _overwrite(descriptor, data)
        finally:
            os.close(descriptor)


def _overwrite(descriptor: int, data: bytes) -> None:
    _write(descriptor, data)
    os.ftruncate(descriptor, len(data))
    os.fsync(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    """All of it: on a full disk `os.write` may write a part without complaint."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
