"""The tabs with their digits, and what waits behind each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message

from meshtui.listings.listing import Listing
from meshtui.paint import STYLES
from meshtui.view import View
from meshtui.widgets.lines import Lines

BADGE = "\0"
"""Stands for the shape of what waits behind a tab."""


def _roomy(at: int, name: str, badge: bool, active: bool) -> str:
    return f" {at + 1} {name}{f' {BADGE}' if badge else ''}  "


def _close(at: int, name: str, badge: bool, active: bool) -> str:
    return f"{at + 1}{BADGE if badge else ' '}{name} "


def _narrow(at: int, name: str, badge: bool, active: bool) -> str:
    return _close(at, name, badge, active) if active else f"{at + 1}{BADGE if badge else ''} "


class TabBar(Lines):
    class Chosen(Message):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, listings: Sequence[Listing[Any]]) -> None:
        super().__init__()
        self._listings = listings
        self._ends: list[int] = []

    def present(self, view: View, active: int) -> None:
        badges = [listing.badge(view) for listing in self._listings]
        room = max(self.app.size.width - 2, 1)
        for form in (_roomy, _close, _narrow):
            texts = [form(at, one.name, bool(badges[at]), at == active) for at, one in enumerate(self._listings)]
            if sum(cell_len(text) for text in texts) <= room:
                break
        parts: list[Content] = []
        self._ends, at = [], 1
        for number, text in enumerate(texts):
            badge = badges[number]
            text = text.replace(BADGE, badge.shape) if badge is not None else text
            place = text.find(badge.shape) if badge is not None else -1
            own = text.rstrip(" ") if form is not _roomy else text[:-1]
            part = Content(own).stylize("$accent bold reverse" if number == active else "$quiet")
            if badge is not None and number != active:
                part = part.stylize(STYLES[badge.tone], place, place + 1)
            parts += [part, Content(text[len(own) :])]
            at += cell_len(text)
            self._ends.append(at)
        self.show(Content("").join(parts))

    def on_click(self, event: events.Click) -> None:
        for number, end in enumerate(self._ends):
            if event.x < end:
                self.post_message(self.Chosen(number))
                return
