"""The pictures of the icon, as files for hosts that read themes, and as pixels for those that don't.

The files are made by packaging/generate-icons. They are read here without an image library, which would take more
memory than the rest of the icon: every PNG of ours is RGBA, not interlaced, its lines not filtered.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

THEMES = Path(__file__).parent / "icons"
"""A folder as the Icon Theme Specification has them, for hosts to look into."""
PROGRAM = THEMES / "hicolor" / "48x48" / "apps" / "meshtray.png"
"""For notifications."""
SIZES = (16, 22, 24, 32, 48)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Pixmap:
    """`argb` is what StatusNotifierItem wants: 32 bits for each pixel, in network byte order."""

    width: int
    height: int
    argb: bytes


def path(name: str, size: int) -> Path:
    if name.endswith("-symbolic"):  # for pixels only: in the theme, a host would take it instead of what it can paint
        return THEMES / "pixmaps" / str(size) / f"{name}.png"
    return THEMES / "hicolor" / f"{size}x{size}" / "status" / f"{name}.png"


@lru_cache(maxsize=8)
def pixmaps(name: str) -> tuple[Pixmap, ...]:
    return tuple(read(path(name, size).read_bytes()) for size in SIZES)


def read(data: bytes) -> Pixmap:
    """One of our own PNG files. Raises ValueError for others."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if data[:8] != _SIGNATURE or (depth, colour, interlaced) != (8, 6, 0):
        raise ValueError("no picture of packaging/generate-icons")
    packed, at = b"", 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += length + 12
    lines = zlib.decompress(packed)
    step = 4 * width + 1
    rgba = bytearray()
    for row in range(height):
        if lines[row * step] != 0:
            raise ValueError("no picture of packaging/generate-icons")
        rgba += lines[row * step + 1 : (row + 1) * step]
    argb = bytearray(len(rgba))
    argb[0::4], argb[1::4], argb[2::4], argb[3::4] = rgba[3::4], rgba[0::4], rgba[1::4], rgba[2::4]
    return Pixmap(width, height, bytes(argb))
