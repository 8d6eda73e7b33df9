"""The number that the kernel raises with every change of nftables in this network, whoever makes it."""

from __future__ import annotations

import socket
import struct

# linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
_NETLINK_NETFILTER = 12
_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
_REQUEST = 1
_NEW_GENERATION, _GET_GENERATION = 10 << 8 | 15, 10 << 8 | 16
_ID = 1
TIME_LIMIT = 1.0


def generation() -> int | None:
    """None where the kernel does not say. Blocks for microseconds."""
    request = _HEADER.pack(_HEADER.size + _GENERIC.size, _GET_GENERATION, _REQUEST, 1, 0) + _GENERIC.pack(0, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as one:
            one.settimeout(TIME_LIMIT)
            one.send(request)
            return parse(one.recv(4096))
    except OSError:
        return None


def parse(message: bytes) -> int | None:
    """The number in the kernel's answer; None for any other message."""
    if len(message) < _HEADER.size + _GENERIC.size:
        return None
    length, kind, _, _, _ = _HEADER.unpack_from(message)
    offset = _HEADER.size + _GENERIC.size
    if kind != _NEW_GENERATION or length > len(message):
        return None
    while offset + _ATTRIBUTE.size <= length:
        size, attribute = _ATTRIBUTE.unpack_from(message, offset)
        if size < _ATTRIBUTE.size or offset + size > length:
            return None
        if attribute == _ID and size == _ATTRIBUTE.size + 4:
            return int.from_bytes(message[offset + _ATTRIBUTE.size : offset + size])  # in network order
        offset += (size + 3) & ~3
    return None
