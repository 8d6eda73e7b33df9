"""Durations and ages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto.durations import LONGEST_MS, format_age, format_duration, format_left, format_since, parse_duration_ms
from meshproto.format_error import FormatError


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("5m", 300), ("2h", 7200), ("14d", 1_209_600), ("1h30m", 5400), (" 90S ", 90)]
)
def test_durations_as_people_write_them(text: str, seconds: int) -> None:
    assert parse_duration_ms(text) == seconds * 1000


@pytest.mark.parametrize("text", ["", "5", "m", "-1s", "1.5h", "1 h", "0s", "1w", "٣s", "999999999d", "1s\n2"])
def test_these_are_no_durations(text: str) -> None:
    with pytest.raises(FormatError):
        parse_duration_ms(text)


@given(st.text(max_size=30))
def test_any_text_is_a_duration_or_a_format_error(text: str) -> None:
    try:
        assert 0 < parse_duration_ms(text) <= LONGEST_MS
    except FormatError as error:
        assert error.fix  # noqa: PT017  # both outcomes are fine


@given(st.integers(1, LONGEST_MS // 1000))
def test_what_is_written_reads_back(seconds: int) -> None:
    assert parse_duration_ms(format_duration(seconds * 1000)) == seconds * 1000


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-5, "just now"), (999, "just now"), (12_400, "12 s ago"), (88_000, "88 s ago"), (119_999, "119 s ago"),
     (180_000, "3 min ago"), (3_600_000, "1 h ago"), (18_000_000, "5 h ago"),
     (172_799_999, "47 h ago"), (172_800_000, "2 d ago")],
)  # fmt: skip
def test_ages(ms: int, text: str) -> None:
    assert format_age(ms) == text


DAY = 86_400_000


@pytest.mark.parametrize(
    ("ms", "text"),
    [(14 * DAY, "14 d"), (14 * DAY - 1, "14 d"), (14 * DAY - 3_600_000, "14 d"), (DAY - 60_000, "1 d"),
     (36 * 3_600_000, "36 h"), (7_199_000, "2 h"), (3_599_000, "1 h"), (3_000_000, "50 min"), (45_000, "45 s"),
     (3, "0 s"), (-9, "0 s")],
)  # fmt: skip
def test_what_is_left(ms: int, text: str) -> None:
    assert format_left(ms) == text


def test_a_moment_that_never_was() -> None:
    assert format_since(0, 5_000) == "never"
    assert format_since(3_000, 5_000) == "2 s ago"
