"""Durations as people write them (`1s 5m 2h 14d`), and ages and times left as people read them (`12 s ago`, `14 d`)."""

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


_NAMES = (("d", _UNITS_MS["d"]), ("h", _UNITS_MS["h"]), ("min", _UNITS_MS["m"]))


def format_span(span_ms: float) -> str:
    """How long something lasted: `119 s`, `12 min`, `1 h`, `47 h`, `5 d`."""
    for name, size in _NAMES:
        if span_ms >= (size if name == "h" else 2 * size):
            return f"{int(span_ms // size)} {name}"
    return f"{max(int(span_ms // 1000), 0)} s"


def format_age(age_ms: float) -> str:
    """`12 s ago`, `88 s ago`, `3 min ago`; `just now` below one second and for a clock that went back."""
    return f"{format_span(age_ms)} ago" if age_ms >= 1_000 else "just now"


def format_left(left_ms: float) -> str:
    """How long something lasts from now, rounded: `14 d`, `36 h`, `1 h`, also when that was said a moment ago."""
    for name, size in _NAMES:
        if left_ms >= size * 1.98 or abs(left_ms - size) <= size / 100:
            return f"{round(left_ms / size)} {name}"
    return f"{max(round(left_ms / 1000), 0)} s"


def format_since(then_ms: int, now_ms: int) -> str:
    """The age of a moment in Unix milliseconds, `never` for 0."""
    return format_age(now_ms - then_ms) if then_ms else "never"
