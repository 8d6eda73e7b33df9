"""Netlink as `kernel` needs it: framing, attributes, and a blocking connection that asks one thing at a time.

linux/netlink.h. Everything that is read is checked: `Malformed` says what was wrong with it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

ROUTE, GENERIC = 0, 16
"""NETLINK_*; Python's socket module does not name the second one."""

REQUEST, ACK, EXCLUSIVE, CREATE, DUMP = 0x1, 0x4, 0x200, 0x400, 0x300
"""NLM_F_*"""

_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR: what is dumped changed meanwhile
_ERROR, _DONE = 2, 3  # NLMSG_*
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF  # NLA_F_NESTED, NLA_TYPE_MASK
_SOL_NETLINK, _CAP_ACK = 270, 10  # acknowledgements without our message: it may hold a private key
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_CODE = struct.Struct("=i")

CHUNK = 1 << 17
"""Bytes for one answer; the kernel makes dumps of at most 32 KiB."""

ANSWER_LIMIT = 10.0
"""Seconds for one answer; 1,000 peers take milliseconds."""

_TRIES = 20
"""How often a dump that was interrupted by a change is begun anew."""


class Malformed(ValueError):
    """Raised when bytes are not the netlink messages or attributes that they should be."""


@dataclass(frozen=True, slots=True)
class Message:
    kind: int
    flags: int
    sequence: int
    payload: bytes


# --- messages and attributes ----------------------------------------------------------------------------------------


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, sequence, 0) + payload


def messages(data: bytes) -> Iterator[Message]:
    """Splits one datagram."""
    offset = 0
    while offset < len(data):
        if len(data) - offset < _HEADER.size:
            raise Malformed("a message header is cut off")
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= length <= len(data) - offset:
            raise Malformed(f"a message of {length} bytes is cut off")
        yield Message(kind, flags, sequence, data[offset + _HEADER.size : offset + length])
        offset += _aligned(length)


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded. Its length has 16 bits: raises Malformed past that."""
    length = _ATTRIBUTE.size + len(data)
    if length > 0xFFFF:
        raise Malformed(f"an attribute of {length} bytes does not fit")
    return _ATTRIBUTE.pack(length, kind) + data + bytes(_aligned(length) - length)


def nested(kind: int, data: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NESTED, data)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of each."""
    offset = 0
    while offset < len(data):
        if len(data) - offset < _ATTRIBUTE.size:
            raise Malformed("an attribute header is cut off")
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not _ATTRIBUTE.size <= length <= len(data) - offset:
            raise Malformed(f"attribute {kind & _TYPE_MASK} of {length} bytes is cut off")
        yield kind & _TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)


def number(data: bytes) -> int:
    """An integer of 1 to 8 bytes as the kernel keeps it."""
    if len(data) not in (1, 2, 4, 8):
        raise Malformed(f"a number of {len(data)} bytes")
    return int.from_bytes(data, "little" if struct.pack("=H", 1)[0] else "big")


def _aligned(length: int) -> int:
    return length + 3 & ~3


# --- talking to the kernel ------------------------------------------------------------------------------------------


class NetlinkConnection:
    """Blocks, so it lives in a thread, in whose network namespace it is. Use it with `with`."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        try:
            self._socket.settimeout(ANSWER_LIMIT)
            self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
            self._socket.bind((0, 0))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> NetlinkConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, kind: int, payload: bytes, flags: int = 0) -> list[bytes]:
        """The payloads of the answers. Raises OSError as the kernel says, Malformed, or TimeoutError."""
        return self._exchange(kind, REQUEST | ACK | flags, payload)[0]

    def dump(self, kind: int, payload: bytes) -> list[bytes]:
        """The payloads of a whole dump, taken anew when something changed in its midst."""
        for _ in range(_TRIES):
            found, whole = self._exchange(kind, REQUEST | DUMP, payload)
            if whole:
                break
        return found

    def _exchange(self, kind: int, flags: int, payload: bytes) -> tuple[list[bytes], bool]:
        self._sequence += 1
        self._socket.send(message(kind, flags, self._sequence, payload))
        found: list[bytes] = []
        whole = True
        while True:
            for answer in messages(self._receive()):
                if answer.sequence != self._sequence:
                    continue
                whole = whole and not answer.flags & _INTERRUPTED
                if answer.kind in (_ERROR, _DONE):
                    check_code(answer.payload)
                    return found, whole
                found.append(answer.payload)

    def _receive(self) -> bytes:
        while True:
            data, _, flags, sender = self._socket.recvmsg(CHUNK)
            if flags & socket.MSG_TRUNC:
                raise Malformed(f"an answer is longer than {CHUNK} bytes")
            if sender[0] == 0:  # the kernel, and nobody else
                return data


def check_code(payload: bytes) -> None:
    """Raises OSError when the end of an answer says that something failed."""
    if len(payload) < _CODE.size:
        raise Malformed("the end of an answer is cut off")
    code = -_CODE.unpack_from(payload)[0]
    if code:
        raise OSError(code, os.strerror(code))
