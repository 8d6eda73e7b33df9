"""Durations and ages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto.durations import LONGEST_MS, format_age, format_duration, format_since, parse_duration_ms
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
    [(-5, "now"), (999, "now"), (12_400, "12 s ago"), (59_999, "59 s ago"), (180_000, "3 min ago"),
     (18_000_000, "5 h ago"), (172_800_000, "2 d ago")],
)  # fmt: skip
def test_ages(ms: int, text: str) -> None:
    assert format_age(ms) == text


def test_a_moment_that_never_was() -> None:
    assert format_since(0, 5_000) == "never"
    assert format_since(3_000, 5_000) == "2 s ago"
