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

SAID_MS = 8000
"""How long the answer to an action stays."""


class StatusLine(Horizontal):
    def __init__(self) -> None:
        super().__init__()
        self._said_ms = 0
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

    def say(self, *cells: Cell, at_ms: int = 0) -> None:
        """What is longer than a line is wrapped: the command at its end is what a person needs. Without `at_ms` it
        stays until something else is said."""
        self._said_ms = at_ms
        self._message.update(content(cells))

    def let_go(self, now_ms: int) -> None:
        """Of an answer that stood long enough."""
        if self._said_ms and now_ms - self._said_ms > SAID_MS:
            self.say()

    def count(self, text: str) -> None:
        self._count.show(content([Cell(text, Tone.DIM)]))
