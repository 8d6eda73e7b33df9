"""One of a few words: space or an arrow takes the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content


class Choice(Static, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,right", "turn(1)", "next", show=False),
        Binding("left", "turn(-1)", "previous", show=False),
    ]

    class Changed(Message):
        """Another word is taken."""

    def __init__(self, words: Sequence[str], value: str, **options: Any) -> None:
        super().__init__(**options)
        self._words = words
        self.value = value or words[0]

    def on_mount(self) -> None:
        self._draw()

    def action_turn(self, steps: int) -> None:
        self.value = self._words[(self._words.index(self.value) + steps) % len(self._words)]
        self._draw("space changes")
        self.post_message(self.Changed())

    def on_click(self) -> None:
        self.action_turn(1)

    def on_focus(self) -> None:
        self._draw("space changes")

    def on_blur(self) -> None:
        self._draw()

    def _draw(self, hint: str = "") -> None:
        cells = []
        for word in self._words:
            chosen = word == self.value
            cells.append(Cell(f"{'●' if chosen else '○'} {word}   ", Tone.STRONG if chosen else Tone.DIM))
        self.update(content([*cells, Cell(hint, Tone.DIM)]))
