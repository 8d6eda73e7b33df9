"""How values read: ages, sizes, rates, shortened keys, sparklines. Pure; units short, widths that don't jump."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address

from meshproto.durations import format_since
from rich.cells import cell_len, set_cell_size

NOTHING = "–"
BARS = "▁▂▃▄▅▆▇█"


@lru_cache(maxsize=32768)
def fit(text: str, width: int, right: bool = False) -> str:
    """`text` in exactly `width` terminal cells, cut with `…` where it is longer."""
    if text.isascii():
        if len(text) > width:
            return f"{text[: width - 1]}…" if width > 0 else ""
        return text.rjust(width) if right else text.ljust(width)
    if cell_len(text) > width:
        return f"{set_cell_size(text, width - 1)}…" if width > 0 else ""
    return " " * (width - cell_len(text)) + text if right else set_cell_size(text, width)


def age(at_ms: int, now_ms: int) -> str:
    """`12 s ago`, or `never` for 0."""
    return format_since(max(at_ms, 0), now_ms)


def size(count: float) -> str:
    """Bytes with decimal prefixes: `0 B`, `820 kB`, `1.2 MB`."""
    value = float(max(count, 0))
    if not math.isfinite(value):
        return NOTHING
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 999.5:
            return f"{value:.1f} {unit}" if value < 9.95 and unit not in ("B", "kB") else f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.0f} EB"


def rate(per_second: float) -> str:
    return f"{size(per_second)}/s"


def milliseconds(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def shortened(text: str, head: int = 4, tail: int = 4) -> str:
    """`9e91…3467`; short text stays as it is."""
    return text if len(text) <= head + tail + 1 else f"{text[:head]}…{text[-tail:]}"


def short_ipv6(address: IPv6Address | None) -> str:
    """First and last group: `fd4b:…:7c1e`."""
    if address is None:
        return NOTHING
    text = str(address)
    groups = text.split(":")
    return text if len(text) <= 16 else f"{groups[0]}:…:{groups[-1]}"


def sparkline(values: Sequence[float | None], top: float | None = None) -> str:
    """One bar for each value, scaled to the largest; a space where nothing is known."""
    highest = top if top is not None else max((value for value in values if value is not None), default=0.0)
    bars = []
    for value in values:
        if value is None:
            bars.append(" ")
        elif highest <= 0 or value <= 0:
            bars.append(BARS[0])
        else:
            bars.append(BARS[min(len(BARS) - 1, math.ceil(value / highest * (len(BARS) - 1)))])
    return "".join(bars)
