"""The last line: which keys do what to the selected row. What the person may not do is dim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual import events
from textual.content import Content
from textual.message import Message

from meshtui.offers import Offer
from meshtui.permissions import Deed
from meshtui.widgets.lines import Lines


class Hint(NamedTuple):
    key: str
    text: str
    action: str
    allowed: bool = True
    rank: int = 0
    """The highest goes first where there is no room."""


RANKS = {
    Deed.PROMOTE: 4,
    Deed.ADMIN: 4,
    Deed.COPY: 3,
    Deed.INVITE: 2,
    Deed.KEY: 3,
    Deed.RENAME: 1,
    Deed.CREATE: 1,
    Deed.PUBLISH: 1,
}
REFUSED = 10
"""More than any rank: what may not be done has room only where all else has it."""


def offer_hints(found: Sequence[Offer]) -> list[Hint]:
    return [Hint(one.key, one.word, f"do('{one.key}')", one.refusal is None, _rank(one)) for one in found]


def _rank(offer: Offer) -> int:
    return RANKS.get(offer.deed, 0) + (REFUSED if offer.refusal is not None else 0)


def replay_hints(paused: bool) -> list[Hint]:
    """Where a recording is shown, on every screen of it."""
    hints = [Hint("space", "run" if paused else "pause", "pause"), Hint(".", "step", "step")]
    return [*hints, Hint("<", "slower", "faster(-1)"), Hint(">", "faster", "faster(1)")]


class KeyHints(Lines):
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
        self.show(Content("").join(parts))

    def on_click(self, event: events.Click) -> None:
        for end, action in self._hints:
            if event.x < end:
                self.post_message(self.Chosen(action))
                return


def _wide(hint: Hint) -> int:
    return len(hint.key) + len(hint.text) + 3
