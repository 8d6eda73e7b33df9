"""The last line: which keys do what to the selected row. What the person may not do is dim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from meshtui.model import Member
from meshtui.permissions import Deed, refusal
from meshtui.view import View


class Hint(NamedTuple):
    key: str
    text: str
    action: str
    allowed: bool = True
    rank: int = 0
    """The highest goes first where there is no room."""


def deed_hints(view: View, member: Member | None) -> list[Hint]:
    """What may be done to the selected member; nothing without one."""
    if member is None:
        return []
    return [
        Hint(key, text, f"act('{deed.value}')", refusal(deed, view, member) is None)
        for key, text, deed in (
            ("p", "ping", Deed.PING),
            ("c", "copy", Deed.COPY),
            ("e", "disable" if member.enabled else "enable", Deed.ENABLE),
            ("r", "rename", Deed.RENAME),
        )
    ]


class KeyHints(Static):
    class Chosen(Message):
        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def __init__(self) -> None:
        super().__init__()
        self._hints: list[tuple[int, str]] = []

    def present(self, hints: Sequence[Hint], width: int) -> None:
        parts: list[Content] = []
        self._hints, at = [], 1
        shown = list(hints)
        while shown and sum(map(_wide, shown)) > width:
            shown.remove(max(shown, key=lambda hint: hint.rank))
        for hint in shown:
            key = "$accent bold" if hint.allowed else "$quiet dim"
            text = "$foreground" if hint.allowed else "$quiet dim strike"
            parts.append(Content.assemble((hint.key, key), (f" {hint.text}", text), "  "))
            at += _wide(hint)
            self._hints.append((at, hint.action))
        self.update(Content("").join(parts))

    def on_click(self, event: events.Click) -> None:
        for end, action in self._hints:
            if event.x < end:
                self.post_message(self.Chosen(action))
                return


def _wide(hint: Hint) -> int:
    return len(hint.key) + len(hint.text) + 3
