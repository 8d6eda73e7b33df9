"""Which program has a port, by /proc. Blocks: run it in a thread."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from meshd.observe.port_unit import unit_of

PROC = Path("/proc")

_LISTEN = "0A"  # TCP_LISTEN, net/tcp_states.h


def parse_table(text: str, port: int, listening_only: bool) -> list[tuple[IPv4Address | IPv6Address, str, str]]:
    """(address, inode, uid) of each socket on the port, from /proc/net/udp, udp6, tcp or tcp6 (man 5 proc)."""
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 10:
            continue
        address, _, number = words[1].partition(":")
        if number != f"{port:04X}" or (listening_only and words[3] != _LISTEN):
            continue
        found.append((_address(address), words[9], words[7]))
    return found


def _address(text: str) -> IPv4Address | IPv6Address:
    """The kernel prints 32-bit words in the machine's own order."""
    packed = b"".join(struct.pack("=I", int(text[start : start + 8], 16)) for start in range(0, len(text), 8))
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def port_owner(address: IPv4Address | IPv6Address, port: int, kind: socket.SocketKind) -> str:
    """Who keeps others from listening there, for example "dnsmasq (pid 712)"; "" when nobody does.

    An unspecified address asks for the port on any address. In its sandbox meshd may not look into programs of others:
    then it is who is alone in the socket's unit, else "a program of dnsmasq.service", else "… of the user dnsmasq".
    """
    users: dict[str, str] = {}
    name = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    for table in (name, name + "6"):
        with contextlib.suppress(OSError, ValueError):
            text = (PROC / "self/net" / table).read_text()
            for bound, inode, uid in parse_table(text, port, kind == socket.SOCK_STREAM):
                if bound == address or bound.is_unspecified or address.is_unspecified:
                    users[f"socket:[{inode}]"] = uid
    if not users:
        return ""
    for folder in sorted(PROC.glob("[0-9]*")):
        try:
            if any(os.readlink(one) in users for one in (folder / "fd").iterdir()):
                return f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"
        except OSError:  # it ended, or is not ours to look at
            continue
    inodes = {one.removeprefix("socket:[").removesuffix("]") for one in users} - {"0"}
    return (unit_of(inodes, port, kind) if inodes else "") or _hidden(users)


def _hidden(users: dict[str, str]) -> str:
    """What the tables alone say. Sockets of the kernel itself have no inode."""
    programs = sorted(uid for socket_name, uid in users.items() if socket_name != "socket:[0]")
    if not programs:
        return "the kernel, perhaps for another WireGuard interface"
    try:
        return f"a program of the user {pwd.getpwuid(int(programs[0])).pw_name}"
    except (KeyError, ValueError, OverflowError):
        return f"a program of the user {programs[0]}"
