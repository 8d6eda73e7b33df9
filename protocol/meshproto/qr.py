"""QR codes for a terminal: two modules in one character, by half blocks."""

from __future__ import annotations

import qrcode
from qrcode.constants import ERROR_CORRECT_L

_BORDER = 2
"""Modules of quiet zone. ISO 18004 asks for 4; phones read 2, and it keeps an invite within 80 columns."""

_LIGHT_ON_DARK, _AS_BEFORE = "\x1b[38;5;231;48;5;16m", "\x1b[0m"
"""White on black of the 256 colours: unlike the first 16, no theme of a terminal says what they are."""

_BLOCKS = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}


def qr_text(text: str) -> str:
    """The code as lines of text, light modules drawn, as a terminal with a dark background shows it right.

    Base32 texts (`mesh1-…`) may be given in upper case: QR codes pack that tighter, and invites are read in any case.
    """
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_L, border=_BORDER, box_size=1)
    code.add_data(text)
    code.make(fit=True)
    light = [[not module for module in row] for row in code.get_matrix()]
    if len(light) % 2:
        light.append([False] * len(light[0]))
    return "\n".join(
        "".join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(light[::2], light[1::2], strict=True)
    )


def in_colours(code: str) -> str:
    """Lines of `qr_text` as they are right on any terminal: many a phone reads no code that is the other way round."""
    return "\n".join(f"{_LIGHT_ON_DARK}{line}{_AS_BEFORE}" for line in code.split("\n"))
