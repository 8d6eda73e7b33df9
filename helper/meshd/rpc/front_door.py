"""The socket that anybody on the machine may connect to: reads who it is from the kernel, then copies bytes to gRPC.

grpcio does not show a Unix socket's caller. So each connection is carried to gRPC's own socket from an abstract name
that says uid and tier (DESIGN.md section 4).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import logging
import os
import secrets
import socket
import struct
from collections import Counter
from pathlib import Path

from meshd.model.errors import Failed
from meshd.rpc.actor import Actor, Tier

log = logging.getLogger(__name__)

SO_PEERGROUPS = 59  # asm-generic/socket.h; Python's socket module does not name it
LONGEST_OPTION = 1024  # bytes, what Python's getsockopt takes: 256 groups
CONNECTIONS_PER_USER = 64
CHUNK = 64 * 1024  # bytes copied at once
LONGEST_PATH = 107  # bytes, sun_path in sys/un.h less the closing zero


def credentials(connection: socket.socket) -> tuple[int, int, set[int]]:
    """(pid, uid, all group ids) of whoever connected. Raises OSError."""
    size = struct.calcsize("3i")
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, LONGEST_OPTION)
    except OSError as error:
        if error.errno != errno.ERANGE:
            raise
        packed = b""  # more groups than fit: they count as none, which only takes rights away
    return pid, uid, {gid, *struct.unpack(f"{len(packed) // 4}I", packed)}


def tier_of(uid: int, groups: set[int], group: str) -> Tier:
    """Root, meshd's own user, and members of the group may operate."""
    if uid in (0, os.geteuid()):
        return Tier.OPERATE
    try:
        allowed = grp.getgrnam(group).gr_gid
    except KeyError:
        return Tier.OBSERVE
    return Tier.OPERATE if allowed in groups else Tier.OBSERVE


class FrontDoor:
    """Listens on `path` (0666) and carries every connection to `inner`."""

    def __init__(self, path: Path, inner: Path, group: str) -> None:
        self._path = path
        self._inner = inner
        self._group = group
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: Counter[int] = Counter()

    async def start(self) -> None:
        """The caller holds the lock of the run folder, so a socket that is there is a dead one."""
        if len(os.fsencode(self._path)) > LONGEST_PATH:
            raise Failed(f"the path {self._path} is too long for a socket", "choose a shorter --run-dir")
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._enter, self._path)
        self._path.chmod(0o666)  # anybody may observe; the tier decides about the rest

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(reader, writer)
        except asyncio.CancelledError:
            pass  # `stop` ends us; asyncio's own callback would report it as an error
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            pid, uid, groups = credentials(writer.get_extra_info("socket"))
        except OSError as error:
            log.warning("a caller without credentials was turned away: %s", error)
            return
        if self._open[uid] >= CONNECTIONS_PER_USER:
            log.warning("uid %d has %d connections open; another one was turned away", uid, self._open[uid])
            return
        actor = Actor(uid, tier_of(uid, groups, self._group), pid)
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        inner.setblocking(False)
        try:
            inner.bind(actor.abstract_name(secrets.token_hex(16)))
            await asyncio.get_running_loop().sock_connect(inner, str(self._inner))
        except OSError as error:
            inner.close()
            log.error("the server behind the front door can't be reached: %s", error)
            return
        self._open[uid] += 1
        inside_reader, inside_writer = await asyncio.open_unix_connection(sock=inner)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, inside_writer))
                both.create_task(_copy(inside_reader, writer))
        finally:
            self._open[uid] -= 1
            inside_writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Until the source ends; then the target is told, and its other direction goes on.

    A caller that goes without having read all that it was sent ends its connection by an error (unix(7)).
    """
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
    with contextlib.suppress(OSError):
        if target.can_write_eof():
            target.write_eof()
