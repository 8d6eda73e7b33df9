"""Which columns a table shows, and by which it is sorted. What is chosen is seen behind it at once, and remembered."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content
from meshtui.widgets.listing_pane import ColumnState, ListingPane

WIDE = 20
"""Cells for a column's title."""


class ColumnList(Static):
    """One line for each column; the cursor is on one of them."""

    def __init__(self, pane: ListingPane) -> None:
        super().__init__(markup=False)
        self._pane = pane
        self._at = 0

    def on_mount(self) -> None:
        self.draw()

    @property
    def title(self) -> str:
        """Of the column under the cursor."""
        return self._pane.column_states()[self._at].title

    def move(self, steps: int) -> None:
        self._at = max(0, min(self._at + steps, len(self._pane.column_states()) - 1))
        self.draw()
        self.scroll_to_region_of_cursor()

    def scroll_to_region_of_cursor(self) -> None:
        if isinstance(around := self.parent, VerticalScroll):
            top, high = around.scroll_offset.y, max(around.size.height, 1)
            if not top <= self._at < top + high:
                around.scroll_to(y=self._at if self._at < top else self._at - high + 1, animate=False)

    def on_click(self, event: events.Click) -> None:
        if event.y < len(self._pane.column_states()):
            self._at = event.y
            self._pane.turn_column(self.title)
            self.draw()

    def draw(self) -> None:
        lines = [_line(one, at == self._at) for at, one in enumerate(self._pane.column_states())]
        self.update(Content("\n").join(lines))


def _line(one: ColumnState, chosen: bool) -> Content:
    shape, tone = ("✓", Tone.GOOD) if one.has_room else ("◌", Tone.DIM) if one.shown else ("○", Tone.DIM)
    aside = [] if one.has_room else ["no room at this width" if one.shown else "hidden"]
    if one.sorted:
        aside.append(f"sorted by it {'↓' if one.sorted == 'reversed' else '↑'}")
    cells = [
        Cell("▸ " if chosen else "  ", Tone.STRONG),
        Cell(f"{shape} ", tone),
        Cell(one.title.ljust(WIDE), Tone.STRONG if chosen else Tone.PLAIN),
        Cell(" · ".join(aside), Tone.DIM),
    ]
    return content(cells)


class ColumnsScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "down", show=False),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("home,g", "move(-100)", "first", show=False),
        Binding("end,G", "move(100)", "last", show=False),
        Binding("space,enter", "turn", "show or hide"),
        Binding("s", "sort", "sort by it"),
        Binding("r", "reset", "all of them"),
        Binding("escape,q,C", "app.pop_screen", "back"),
        Binding("question_mark,f1", "app.keys", "keys", show=False),
    ]

    def __init__(self, pane: ListingPane) -> None:
        super().__init__()
        self._pane = pane
        self._list = ColumnList(pane)
        self._said = Static(classes="reason", markup=False)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content([Cell(f"Columns of {self._pane.listing.name}", Tone.STRONG)]), classes="title")
            with VerticalScroll(can_focus=False):
                yield self._list
            yield self._said

    def on_mount(self) -> None:
        self._say()

    def _say(self, why: str = "") -> None:
        keys: list[Content] = [content([Cell(f"{why}\n", Tone.CAUTION)])] if why else []
        offered = [("space", "show or hide"), *([("s", "sort by it")] if self._pane.listing.sortable else [])]
        for key, text in (*offered, ("r", "all of them"), ("esc", "back")):
            keys.append(Content.assemble((key, "$accent bold"), f" {text}   "))
        self._said.update(Content("").join(keys))

    def action_move(self, steps: int) -> None:
        self._list.move(steps)
        self._say()

    def action_turn(self) -> None:
        self._say("" if self._pane.turn_column(self._list.title) else "One column has to stay.")
        self._list.draw()

    def action_sort(self) -> None:
        self._say("" if self._pane.sort_clicked(self._list.title) else "This table has no order by that.")
        self._list.draw()

    def action_reset(self) -> None:
        self._pane.show_all_columns()
        self._say()
        self._list.draw()
