"""The last line but one: the filter while it is typed, what came of an action, and how much is shown."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content


class StatusLine(Horizontal):
    def compose(self) -> ComposeResult:
        yield Static("/", id="slash")
        yield Input(id="filter", compact=True, select_on_focus=False)
        yield Static(id="message", markup=False)
        yield Static(id="count", markup=False)

    def on_mount(self) -> None:
        self.show_filter(False)

    @property
    def input(self) -> Input:
        return self.query_one("#filter", Input)

    def show_filter(self, shown: bool) -> None:
        self.query_one("#slash").display = shown
        self.input.display = shown
        self.query_one("#message").display = not shown

    def say(self, *cells: Cell) -> None:
        self.query_one("#message", Static).update(content(cells))

    def count(self, text: str) -> None:
        self.query_one("#count", Static).update(content([Cell(text, Tone.DIM)]))
