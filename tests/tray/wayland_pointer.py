"""A mouse for a Wayland session without one: the few messages of the protocol for it (zwlr_virtual_pointer_v1)."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from pathlib import Path

LEFT = 0x110
"""BTN_LEFT of linux/input-event-codes.h."""

DISPLAY, REGISTRY, CALLBACK, MANAGER, POINTER = 1, 2, 3, 4, 5
"""Our numbers for the objects; the first is the protocol's."""


class Mouse:
    """In a screen of that size."""

    def __init__(self, display: Path, width: int, height: int) -> None:
        self._size = (width, height)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.connect(str(display))
        self._send(DISPLAY, 1, REGISTRY)  # get_registry
        self._send(DISPLAY, 0, CALLBACK)  # sync
        name = self._global(b"zwlr_virtual_pointer_manager_v1")
        interface = b"zwlr_virtual_pointer_manager_v1\0"
        text = struct.pack("=I", len(interface)) + interface.ljust(-(-len(interface) // 4) * 4, b"\0")
        self._raw(REGISTRY, 0, struct.pack("=I", name) + text + struct.pack("=II", 1, MANAGER))  # bind
        self._send(MANAGER, 0, 0, POINTER)  # create_virtual_pointer, of any seat

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def click(self, x: int, y: int) -> None:
        self.move(x, y)
        for state in (1, 0):
            self._send(POINTER, 2, self._now(), LEFT, state)
            self._send(POINTER, 4)  # frame

    def move(self, x: int, y: int) -> None:
        self._send(POINTER, 1, self._now(), x, y, *self._size)
        self._send(POINTER, 4)

    def _now(self) -> int:
        """In ms. GTK's menus ignore a button that is let go within half a second of their opening."""
        return int(time.monotonic() * 1000) & 0xFFFFFFFF

    def _global(self, wanted: bytes) -> int:
        """The number of that global, of all that the compositor has."""
        found = None
        while True:
            sender, opcode, body = self._next()
            if (sender, opcode) == (REGISTRY, 0):
                name, length = struct.unpack_from("=II", body)
                if body[8 : 8 + length - 1] == wanted:
                    found = int(name)
            if sender == CALLBACK:
                assert found is not None, "the compositor has no virtual pointers"
                return found

    def _next(self) -> tuple[int, int, bytes]:
        sender, head = struct.unpack("=II", self._read(8))
        return sender, head & 0xFFFF, self._read((head >> 16) - 8)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            assert more, "the compositor hung up"
            data += more
        return data

    def _send(self, receiver: int, opcode: int, *values: int) -> None:
        self._raw(receiver, opcode, struct.pack(f"={len(values)}I", *values))

    def _raw(self, receiver: int, opcode: int, body: bytes) -> None:
        self._socket.sendall(struct.pack("=II", receiver, (len(body) + 8) << 16 | opcode) + body)
