"""Text of others, made safe to show: for every front end. Pure."""

from __future__ import annotations

from functools import lru_cache
from unicodedata import category, normalize

UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me"))
"""Unicode categories that a terminal obeys, that an eye misses, or that pile up: controls, bidirectional overrides,
zero width, private, unassigned, combining marks."""
LONGEST = 4000
"""Characters of foreign text that are kept: more than any screen shows, little enough to lay out."""


@lru_cache(maxsize=32768)
def plain(text: str) -> str:
    """Foreign text with everything that a terminal would obey, or an eye would miss, replaced by `�`."""
    if text.isascii() and text.isprintable():
        return text[:LONGEST]
    return "".join("�" if category(one) in UNSAFE else one for one in normalize("NFC", text[:LONGEST]))
