"""A question before something is changed: what will happen, and yes or no."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content
from meshtui.screens.framed_screen import FramedScreen


class AskScreen(FramedScreen[bool]):
    """Dismissed with True for yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
    ]

    def __init__(self, question: str, effect: str, yes: str, no: str) -> None:
        super().__init__()
        self._question, self._effect, self._yes, self._no = question, effect, yes, no

    def body(self) -> Iterable[Widget]:
        yield Static(content([Cell(self._question, Tone.STRONG)]))
        yield Static(content([Cell(self._effect)]), classes="above")

    def keys(self) -> Content:
        return Content.assemble(("y", "$accent bold"), f" {self._yes}   ", ("n", "$accent bold"), f" {self._no}")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)
