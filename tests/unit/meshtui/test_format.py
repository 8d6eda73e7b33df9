"""How values read."""

from __future__ import annotations

from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto.plain_text import UNSAFE, plain
from meshtui.format import age, fit, milliseconds, rate, size, sparkline
from rich.cells import cell_len


@given(st.text())
def test_plain_text_has_nothing_that_a_terminal_obeys(text: str) -> None:
    cleaned = plain(text)
    assert not any(category(letter) in UNSAFE for letter in cleaned.replace("�", ""))
    assert plain(cleaned) == cleaned


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gw-berlin", "gw-berlin"),
        ("a\x1b[2Jb", "a�[2Jb"),
        ("\u202egnp.exe", "�gnp.exe"),
        ("line\nbreak\r", "line�break�"),
        ("[red]x[/red]", "[red]x[/red]"),
        ("e\u0301", "é"),
        ("a\u0301\u0301\u0301", "á��"),
        ("漢字", "漢字"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text().map(plain), st.integers(0, 40), st.booleans())
def test_fit_takes_exactly_its_width(text: str, width: int, right: bool) -> None:
    assert cell_len(fit(text, width, right)) == width


def test_fit_cuts_with_an_ellipsis() -> None:
    assert fit("gw-berlin", 5) == "gw-b…"
    assert fit("gw", 5, right=True) == "   gw"
    assert fit("漢字漢字", 4) == "漢 …"


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (0, "just now"),
        (12, "12 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7200, "2 h ago"),
        (3 * 86400, "3 d ago"),
    ],
)
def test_age(before: int, text: str) -> None:
    assert age(1_000_000_000, 1_000_000_000 + before * 1000) == text


def test_age_of_what_never_was_or_will_be() -> None:
    assert age(0, 1000) == "never"
    assert age(9000, 1000) == "just now"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (820_400, "820 kB"), (999_600, "1.0 MB"), (1_240_000, "1.2 MB"),
     (12_400_000, "12 MB"), (float("nan"), "–"), (-5, "0 B")],
)  # fmt: skip
def test_size(count: float, text: str) -> None:
    assert size(count) == text


@given(st.floats(0, 1e15))
def test_a_rate_fits_its_column(value: float) -> None:
    assert len(rate(value)) <= 8


@given(st.none() | st.floats(0, 999_999))
def test_a_latency_fits_its_column(value: float | None) -> None:
    assert len(milliseconds(value)) <= 8


def test_sparkline() -> None:
    assert sparkline([None, 0, 1, 4, 8]) == " ▁▂▅█"
    assert sparkline([0, 0]) == "▁▁"
