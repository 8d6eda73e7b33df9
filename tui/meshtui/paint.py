"""Cells to Textual's Content, with the theme's colours. Foreign text is never read as markup."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from meshtui.listings.listing import Cell
from meshtui.look import Tone

STYLES = {
    Tone.PLAIN: "",
    Tone.GOOD: "$success",
    Tone.CAUTION: "$warning",
    Tone.BAD: "$error",
    Tone.DIM: "$quiet",
    Tone.STRONG: "bold",
}


def content(cells: Iterable[Cell]) -> Content:
    return Content.assemble(*((cell.text, STYLES[cell.tone]) for cell in cells))


def time_last(left: Iterable[Cell], right: Iterable[Cell], width: int) -> Content:
    """One line that ends with all of `right`, also where `left` must be cut for it."""
    begin, end = content(left), content(right)
    room = max(width - end.cell_length - 2, 0)
    return Content.assemble(begin.truncate(room, ellipsis=True, pad=True), "  ", end)


def beside(left: Iterable[Cell], right: Iterable[Cell], width: int) -> Content:
    """One line: `left` cut where it must be, `right` at the end where there is room for both."""
    begin, end = content(left), content(right)
    room = width - end.cell_length - 2
    if room < min(begin.cell_length, width // 2):
        return begin.truncate(width, ellipsis=True)
    return Content.assemble(begin.truncate(room, ellipsis=True, pad=True), "  ", end)
