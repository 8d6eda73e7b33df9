"""Text in place on a terminal, cut to it: nothing wraps or scrolls, and what has no room is counted. Pure."""

from __future__ import annotations

import re
from unicodedata import combining, east_asian_width

ESCAPE = re.compile(r"(\x1b\[[0-9;]*m)")
"""A colour: takes no room."""
END = "\x1b[0m"


def clipped(line: str, width: int) -> tuple[str, int]:
    """At most `width` cells of a line, with its colours, and how many cells were cut."""
    kept, at, cut = [], 0, 0
    for part in ESCAPE.split(line):
        if ESCAPE.fullmatch(part):
            kept.append(part)
            continue
        for letter in part:
            cells = 0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1
            if cut or at + cells > width:
                cut += cells
            else:
                kept.append(letter)
                at += cells
    return "".join(kept) + (END if cut and ESCAPE.search(line) else ""), cut


def picture(text: str, width: int, height: int) -> str:
    """What shows it from the first line of the terminal on, each line to its end, so that nothing flickers."""
    lines = text.splitlines()
    longest = max((clipped(line, width)[1] for line in lines), default=0)
    room = max(height - 1, 1)  # behind the last line stands the cursor
    hidden = max(len(lines) - room, 0)
    if hidden or longest:
        room = max(room - 1, 0)
        hidden = max(len(lines) - room, 0)
    shown = [clipped(line, width)[0] for line in lines[:room]]
    if hidden or longest:
        parts = [f"{hidden} more line{'s' * (hidden != 1)}"] * bool(hidden)
        parts += [f"{longest} more column{'s' * (longest != 1)}"] * bool(longest)
        shown.append(clipped(f"… {' and '.join(parts)}: the terminal is too small", width)[0])
    return "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J"
