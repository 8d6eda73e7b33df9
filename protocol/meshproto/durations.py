"""Durations as people write them (`1s 5m 2h 14d`), and ages as people read them (`12 s ago`)."""

from __future__ import annotations

import re

from meshproto.format_error import FormatError

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000}
_DURATION = re.compile(r"(?:[0-9]{1,9}[dhms])+", re.ASCII)
_PART = re.compile(r"([0-9]+)([dhms])", re.ASCII)

LONGEST_MS = 100 * 365 * _UNITS_MS["d"]
"""A hundred years: what is longer is a mistake, and must not overflow anywhere."""


def parse_duration_ms(text: str) -> int:
    """Reads `90s`, `2h`, `1h30m` … as milliseconds; raises FormatError."""
    plain = text.strip().lower()
    if not _DURATION.fullmatch(plain):
        raise FormatError(f"{text[:40]!r} is not a duration", "write a number and s, m, h or d, for example 2h or 14d")
    total = sum(int(number) * _UNITS_MS[unit] for number, unit in _PART.findall(plain))
    if not 0 < total <= LONGEST_MS:
        raise FormatError(f"{text[:40]!r} is out of range", "give a duration between 1s and 36500d")
    return total


def format_duration(duration_ms: int) -> str:
    """The same in the largest units that say it exactly: `14d`, `1h30m`, `0s`. Parts of a second are dropped."""
    rest, parts = max(duration_ms, 0), []
    for unit, size in _UNITS_MS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def format_age(age_ms: int) -> str:
    """`12 s ago`, `3 min ago`, `5 h ago`, `2 d ago`; `now` below one second and for a clock that went back."""
    if age_ms < 1_000:
        return "now"
    for size, name in ((_UNITS_MS["d"], "d"), (_UNITS_MS["h"], "h"), (_UNITS_MS["m"], "min")):
        if age_ms >= size:
            return f"{age_ms // size} {name} ago"
    return f"{age_ms // 1_000} s ago"


def format_since(then_ms: int, now_ms: int) -> str:
    """The age of a moment in Unix milliseconds, `never` for 0."""
    return format_age(now_ms - then_ms) if then_ms else "never"
