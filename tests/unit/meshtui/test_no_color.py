"""NO_COLOR: no colour is written, and what colour alone would say is said otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshtui.no_color import CODE, NoColour
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

GROUND = Color.parse("#12151c")
COLOURS = st.none() | st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


def drawn(style: Style, dark: bool = True) -> Style:
    (segment,) = NoColour(lambda: dark).apply([Segment("x", style)], GROUND)
    assert segment.style is not None
    return segment.style


@given(COLOURS, COLOURS, st.booleans(), st.booleans())
def test_nothing_has_a_colour_but_a_code(front: str | None, ground: str | None, bold: bool, dark: bool) -> None:
    style = drawn(Style(color=front, bgcolor=ground, bold=bold), dark)
    assert (style.color, style.bgcolor) == (None, None) or (front, ground) == ("#ffffff", "#000000")
    assert bool(style.bold) == bold


def test_what_is_clicked_is_still_known() -> None:
    assert drawn(Style.parse("#d5d9e2 on #12151c") + Style(meta={"option": 3})).meta == {"option": 3}


def test_a_code_keeps_its_two() -> None:
    assert drawn(CODE) == CODE


@pytest.mark.parametrize(
    ("style", "dark", "reverse", "dim"),
    [
        ("#d5d9e2 on #12151c", True, False, False),
        ("#8b93a7 on #12151c", True, False, True),  # said in passing, and what stands in an empty field
        ("#f0717a on #12151c", True, False, False),
        ("#12151c on #7aa2f7", True, True, False),  # what is chosen
        ("#d5d9e2 on #2b3550", True, False, False),  # a row under the cursor has a mark
        ("#1c212b on #fbfbfd", False, False, False),
        ("#5d6678 on #fbfbfd", False, False, True),
        ("#fbfbfd on #2456c4", False, True, False),
        ("#d5d9e2 on #12151c reverse", True, True, False),
    ],
)
def test_what_is_seen_instead(style: str, dark: bool, reverse: bool, dim: bool) -> None:
    found = drawn(Style.parse(style), dark)
    assert (bool(found.reverse), bool(found.dim)) == (reverse, dim)
