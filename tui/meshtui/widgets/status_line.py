"""The line above the keys: the filter while it is typed, what came of an action, and how much is shown."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content
from meshtui.widgets.entry import Entry
from meshtui.widgets.lines import Lines


class StatusLine(Horizontal):
    def __init__(self) -> None:
        super().__init__()
        self._slash = Static("/", id="slash")
        self.input = Entry(id="filter", compact=True, select_on_focus=False)
        self._message = Static(id="message", markup=False)
        self._count = Lines(id="count", markup=False)
        self.show_filter(False)

    def compose(self) -> ComposeResult:
        yield self._slash
        yield self.input
        yield self._message
        yield self._count

    def show_filter(self, shown: bool) -> None:
        self._slash.display = shown
        self.input.display = shown
        self._message.display = not shown

    def say(self, *cells: Cell) -> None:
        """What is longer than a line is wrapped: the command at its end is what a person needs."""
        self._message.update(content(cells))

    def count(self, text: str) -> None:
        self._count.show(content([Cell(text, Tone.DIM)]))
