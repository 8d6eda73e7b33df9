"""The story of one row on the whole screen; it goes on changing while it is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from meshtui.listings.listing import Cell, Story
from meshtui.look import Tone
from meshtui.paint import content
from meshtui.view import View
from meshtui.widgets.key_hints import Hint, KeyHints
from meshtui.widgets.story_panel import StoryPanel
from meshtui.widgets.top_line import TopLine


class StoryScreen(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,backspace,left,h", "app.pop_screen", "back"),
        Binding("j", "scroll(1)", "down", show=False),
        Binding("k", "scroll(-1)", "up", show=False),
    ]

    def __init__(self, listing: str, story: Callable[[int], Story | None], view: View) -> None:
        super().__init__()
        self._listing = listing
        self._story = story
        self._first = view

    def compose(self) -> ComposeResult:
        yield TopLine(markup=False)
        yield Static(id="crumbs", markup=False)
        with VerticalScroll():
            yield StoryPanel(markup=False)
        yield KeyHints()

    def on_mount(self) -> None:
        self.present(self._first)

    def present(self, view: View) -> None:
        width = max(self.app.size.width - 4, 1)
        story = self._story(width)
        self.query_one(TopLine).present(view)
        self.query_one(StoryPanel).present(story, width)
        name = story.title[0].text if story is not None else "gone"
        crumbs = [Cell(self._listing, Tone.DIM), Cell(" › ", Tone.DIM), Cell(name, Tone.STRONG)]
        self.query_one("#crumbs", Static).update(content(crumbs))
        self.query_one(KeyHints).present([Hint("esc", "back", "app.pop_screen")], self.app.size.width)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
