"""Which unit's sockets have a port, by sock_diag(7): for whoever may not look into the programs of others. Blocks: run
it in a thread. `port_owner` uses it."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROC = Path("/proc")
CGROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
"""Where systemd mounts version 2 of the control groups, alone or beside version 1."""

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x1 | 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_CGROUP_ID = 21
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI2H44x")
_MESSAGE = struct.Struct("=4x2H60xI")  # struct inet_diag_msg: its port, and its inode at the end
_ATTRIBUTE = struct.Struct("=HH")

_LIMIT_S = 2.0
_ROOT_CGROUP = 1  # of all that is in none


def unit_of(inodes: set[str], port: int, kind: socket.SocketKind) -> str:
    """What is known of these sockets' owner: "dnsmasq (pid 712)" when the unit has programs of one name only, else
    "a program of dnsmasq.service"; "" when nothing is."""
    try:
        cgroups = {cgroup for inode, cgroup in _sockets(port, kind) if inode in inodes and cgroup > _ROOT_CGROUP}
    except (OSError, struct.error):  # an old kernel, or one without sock_diag
        return ""
    unit = ""
    programs: dict[str, int] = {}
    for pid, path in _members(cgroups):
        unit = unit or path.name
        with contextlib.suppress(OSError):
            programs.setdefault((PROC / str(pid) / "comm").read_text().strip(), pid)
    if len(programs) == 1:
        ((name, pid),) = programs.items()
        return f"{name} (pid {pid})"
    return f"a program of {unit}" if unit else ""


def _sockets(port: int, kind: socket.SocketKind) -> Iterator[tuple[str, int]]:
    """(inode, cgroup id) of each socket on the port. Raises OSError."""
    protocol = socket.IPPROTO_UDP if kind == socket.SOCK_DGRAM else socket.IPPROTO_TCP
    for family in (socket.AF_INET, socket.AF_INET6):
        request = _REQUEST.pack(family, protocol, 0, 0xFFFFFFFF, socket.htons(port), 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(_LIMIT_S)
            kernel.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + request)
            for body in _bodies(kernel):
                source, _, inode = _MESSAGE.unpack_from(body)
                for attribute, value in _attributes(body[_MESSAGE.size :]):
                    if attribute == _CGROUP_ID and socket.ntohs(source) == port:
                        yield str(inode), int.from_bytes(value, sys.byteorder)


def _bodies(kernel: socket.socket) -> Iterator[bytes]:
    while True:
        data = kernel.recv(1 << 16)
        while data:
            length, what, *_ = _HEADER.unpack_from(data)
            if what == _NLMSG_DONE or length < _HEADER.size:
                return
            if what == _NLMSG_ERROR:
                raise OSError(-struct.unpack_from("=i", data, _HEADER.size)[0], "sock_diag")
            yield data[_HEADER.size : length]
            data = data[(length + 3) & ~3 :]


def _attributes(rest: bytes) -> Iterator[tuple[int, bytes]]:
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if length < _ATTRIBUTE.size:
            return
        yield kind, rest[_ATTRIBUTE.size : length]
        rest = rest[(length + 3) & ~3 :]


def _members(cgroups: set[int]) -> Iterator[tuple[int, PurePosixPath]]:
    """(pid, path of its control group) of those in one of them, by pid."""
    if not cgroups:
        return
    for pid in sorted(int(one.name) for one in PROC.glob("[0-9]*")):
        with contextlib.suppress(OSError):
            lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
            path = next((one.removeprefix("0::/") for one in lines if one.startswith("0::/")), "")
            if path and any(_number(top / path) in cgroups for top in CGROUPS):
                yield pid, PurePosixPath(path)


def _number(folder: Path) -> int:
    try:
        return folder.stat().st_ino
    except OSError:
        return 0
