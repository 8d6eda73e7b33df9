"""What `--watch` draws fits the terminal, whatever it is given."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from meshctl.picture import ESCAPE, clipped, picture
from rich.cells import cell_len

GREEN = "\x1b[32m●\x1b[0m"


def lines(drawn: str) -> list[str]:
    assert drawn.startswith("\x1b[H")
    assert drawn.endswith("\x1b[J")
    return [line.removesuffix("\x1b[K") for line in drawn[3:-3].split("\n")[:-1]]


def test_what_fits_is_shown_whole() -> None:
    assert lines(picture("one\ntwo", 20, 3)) == ["one", "two"]
    assert lines(picture("", 20, 3)) == []


def test_what_has_no_room_is_counted() -> None:
    assert lines(picture("1\n2\n3\n4", 40, 4)) == ["1", "2", "… 2 more lines: the terminal is too small"[:40]]
    assert lines(picture("1234567890" * 6 + "x", 60, 4))[1] == "… 1 more column: the terminal is too small"
    both = lines(picture("x" * 90 + "\n2\n3", 80, 3))
    assert both == ["x" * 80, "… 2 more lines and 10 more columns: the terminal is too small"]


def test_a_colour_takes_no_room_and_ends_where_the_line_is_cut() -> None:
    assert clipped(f"{GREEN} gw-berlin", 4) == (f"{GREEN} gw\x1b[0m", 7)
    assert clipped(f"{GREEN} gw-berlin", 11) == (f"{GREEN} gw-berlin", 0)
    assert clipped("a日本", 4) == ("a日", 2)


@given(
    st.text(st.one_of(st.characters(codec="ascii", categories=("L", "N")), st.sampled_from("日é●\n"))),
    st.integers(1, 50),
    st.integers(1, 20),
)
def test_it_never_wraps_nor_scrolls(text: str, width: int, height: int) -> None:
    drawn = lines(picture(text, width, height))
    assert len(drawn) <= max(height - 1, 1)
    assert all(cell_len(ESCAPE.sub("", line)) <= width for line in drawn)
