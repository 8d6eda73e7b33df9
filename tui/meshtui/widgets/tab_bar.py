"""The tabs with their digits, and what waits behind each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from meshtui.listings.listing import Listing
from meshtui.paint import STYLES
from meshtui.view import View


class TabBar(Static):
    class Chosen(Message):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, listings: Sequence[Listing[Any]]) -> None:
        super().__init__()
        self._listings = listings
        self._ends: list[int] = []

    def present(self, view: View, active: int) -> None:
        parts: list[Content] = []
        self._ends, at = [], 1
        for number, listing in enumerate(self._listings):
            badge = listing.badge(view)
            text = f" {number + 1} {listing.name}{f' {badge.shape}' if badge else ''} "
            part = Content(text).stylize("$accent bold reverse" if number == active else "$quiet")
            if badge is not None and number != active:
                part = part.stylize(STYLES[badge.tone], len(text) - 2, len(text) - 1)
            parts += [part, Content(" ")]
            at += cell_len(text) + 1
            self._ends.append(at)
        self.update(Content("").join(parts))

    def on_click(self, event: events.Click) -> None:
        for number, end in enumerate(self._ends):
            if event.x < end:
                self.post_message(self.Chosen(number))
                return
